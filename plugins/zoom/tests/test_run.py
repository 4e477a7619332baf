"""Whole runs: installed as a plugin, beside p2r in one leaderboard, with the same scoring and accounting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from p2r_bench_zoom.mode import ROLE
from p2r_bench_zoom.tool import NAME

from p2r_bench import DataSource, EngineError, Request, Sample
from p2r_bench.cli import main
from p2r_bench.plugins import registry
from p2r_bench.tasks.synth_hr import SynthHR
from p2r_bench.testing import right_replies, scripted_run

ROWS = {"rows": 8}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendered images are shared by the tests of this session and by nothing else."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def samples() -> dict[str, Sample]:
    return {s.id: s for s in SynthHR().samples(DataSource(params=ROWS))}


def zooming(samples: dict[str, Sample]) -> Any:
    """Zooms in on the first ground-truth box, then gives the right answer."""

    def reply(request: Request) -> str:
        sample = samples[request.sample_id]
        if len(request.recipes) == 1:
            assert sample.boxes
            arguments = {"bbox_2d": list(sample.boxes[0].xyxy), "label": "sign"}
            return f"<tool_call>{json.dumps({'name': NAME, 'arguments': arguments})}</tool_call>"
        return f"<think>I see it now.</think><answer>{sample.answer}</answer>"

    return reply


def perceiving(samples: dict[str, Sample]) -> Any:
    return lambda request: right_replies(samples[request.sample_id])[request.role]


def synth(mode: str, replies: Any, out: Path, **fields: Any) -> Any:
    return scripted_run(
        mode, replies, task="Synth-HR", task_params=ROWS, profile="tiny", out=out, **fields
    )


def test_it_is_installed_and_listed() -> None:
    entry = registry().entry("mode", "zoom-tools")
    assert entry.distribution == "p2r-bench-zoom"


def test_it_stands_in_the_leaderboard_beside_p2r(
    tmp_path: Path, samples: dict[str, Sample]
) -> None:
    synth("p2r", perceiving(samples), tmp_path)
    synth("zoom-tools", zooming(samples), tmp_path)
    table = pd.read_parquet(tmp_path / "leaderboard.parquet")
    rows = table[
        (table.source == "measured")
        & table.category.isna()
        & (table.metric == "accuracy")
        & table.headline
    ]
    rows = rows.set_index("mode")
    assert set(rows.index) == {"p2r", "zoom-tools"}
    for mode in rows.index:
        row = rows.loc[mode]
        assert (row.value, row.n, row.n_errors, row.complete) == (1.0, 8, 0, True)
        assert row.calls_per_sample == 2
        for tokens in (
            row.prompt_tokens_per_sample,
            row.output_tokens_per_sample,
            row.visual_tokens_per_sample,
        ):
            assert tokens > 0
        assert row.seconds_per_sample > 0
    assert rows.scorer.nunique() == rows.profile_hash.nunique() == rows.data_digest.nunique() == 1
    assert rows.loc["zoom-tools"].mode_version.startswith("p2r-bench-zoom ")


def test_the_leaderboard_command_shows_calls_tokens_and_time(
    tmp_path: Path, samples: dict[str, Sample]
) -> None:
    synth("zoom-tools", zooming(samples), tmp_path, limit=1)
    shown = CliRunner().invoke(main, ["leaderboard", "--out", str(tmp_path), "--json"])
    assert shown.exit_code == 0, shown.output
    (row,) = [
        row for row in json.loads(shown.output) if row["mode"] == "zoom-tools" and row["headline"]
        and row["category"] is None and row["metric"] == "accuracy"
    ]  # fmt: skip
    assert (
        row["calls_per_sample"] == 2
        and row["output_tokens_per_sample"] > 0
        and row["seconds_per_sample"] > 0
    )


def test_turns_and_tool_errors_are_in_the_sample_rows(
    tmp_path: Path, samples: dict[str, Sample]
) -> None:
    good = zooming(samples)

    def first_malformed(request: Request) -> str:
        return "<tool_call>?</tool_call>" if len(request.messages) == 2 else str(good(request))

    result = synth("zoom-tools", first_malformed, tmp_path, mode_params={"max_turns": 2})
    rows = pd.read_parquet(result.path / "samples.parquet")
    assert set(rows.n_calls) == {3} and set(rows.status) == {"ok"}
    assert {json.loads(usage)["tool_errors"] for usage in rows.usage} == {1}
    assert {stage["role"] for stages in rows.stages for stage in stages} == {ROLE}
    assert all(len(crops) == 1 for crops in rows.crops)


def test_a_failing_call_is_an_error_and_never_a_wrong_answer(
    tmp_path: Path, samples: dict[str, Sample]
) -> None:
    good = zooming(samples)
    broken = next(iter(samples))

    def reply(request: Request) -> str:
        if request.sample_id == broken and len(request.recipes) == 2:
            raise EngineError("the server went away", kind="gone")
        return str(good(request))

    result = synth("zoom-tools", reply, tmp_path)
    (overall,) = result.overall
    assert (overall["n"], overall["n_errors"], overall["value"], overall["complete"]) == (
        7,
        1,
        1.0,
        False,
    )
    rows = pd.read_parquet(result.path / "samples.parquet").set_index("sample_id")
    assert (rows.loc[broken].error_type, rows.loc[broken].error_role) == ("gone", ROLE)
    assert rows.loc[broken].n_calls == 1


def test_dry_run_shows_the_first_request(tmp_path: Path) -> None:
    arguments = [
        "--mode",
        "zoom-tools",
        "--tasks",
        "Synth-HR",
        "--task-arg",
        "rows=4",
        "--profile",
        "tiny",
    ]
    shown = CliRunner().invoke(main, ["run", *arguments, "--out", str(tmp_path), "--dry-run"])
    assert shown.exit_code == 0, shown.output
    assert f"role {ROLE}" in shown.output and "<tools>" in shown.output
