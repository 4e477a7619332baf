"""`run --dry-run` shows the requests of all stages, as text or as JSON and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from p2r_bench.cli import main


def dry(bench: Path, *arguments: str) -> str:
    common = ["run", "--tasks", "HR-Bench", "--data-dir", str(bench), "--dry-run", "--limit", "1"]
    result = CliRunner().invoke(main, [*common, *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_second_stage_is_shown_with_a_stand_in_that_says_so(bench: Path) -> None:
    first, second = dry(bench, "--mode", "p2r").split("\n\nsample ")[1:]
    assert "role perceive" in first and "stand-in" not in first
    assert "role reason" in second and "stand-in replies" in second
    assert "boxes drawn>" in second and ": crop (" in second


def test_json_is_json_and_has_every_request(bench: Path) -> None:
    runs = json.loads(dry(bench, "--mode", "default,p2r", "--json"))
    roles = [[r["role"] for s in run["samples"] for r in s["requests"]] for run in runs]
    assert roles == [["answer"], ["perceive", "reason"]]
    reason = runs[1]["samples"][0]["requests"][1]
    assert reason["made_from_stand_in_replies"]
    assert [part for m in reason["messages"] for part in m["content"] if part.get("crop")]
