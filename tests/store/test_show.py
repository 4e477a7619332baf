"""`p2r-bench show`: one sample of a run, found by the beginning of its name."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from p2r_bench.cli import main
from p2r_bench.store.rows import sample_row, verdict_row
from p2r_bench.types import Completion, ErrorInfo
from tests.store.building import (
    CELLS,
    SESSION,
    make_prediction,
    make_sample,
    make_verdict,
    open_folder,
    outcome,
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    failed = make_prediction(
        make_sample(1), None, "error", error=ErrorInfo("timeout", "after 60 s", "reason")
    )
    wild = make_sample(11, id="wild")
    odd = make_prediction(wild, "\x1b[31mB", completions=(Completion("\x1b]0;title\x07 \ud800"),))
    with open_folder(out) as folder, open_folder(out, seed=1) as other:
        for one in (folder, other):
            one.begin(SESSION)

        async def record() -> None:
            row, verdicts = outcome(0)
            original = make_verdict(make_sample(0), False, scorer="original", extracted="A")
            await folder.record(row, [*verdicts, verdict_row(original, index=0)])
            await folder.record(sample_row(make_sample(1), failed, index=1, cells=CELLS), [])
            await folder.record(sample_row(wild, odd, index=11, cells=CELLS), [])
            await other.record(*outcome(0))

        asyncio.run(record())
    return out


@pytest.fixture(scope="module")
def run_id(out: Path) -> str:
    return sorted(
        p.parent.name
        for p in out.glob("runs/*/manifest.json")
        if "wild" in (p.parent / "journal.jsonl").read_text()
    )[0]


def show(out: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["show", *arguments, "--out", str(out)])


def test_stages_boxes_crops_answer_and_verdicts_are_shown(out: Path, run_id: str) -> None:
    output = show(out, run_id, "4K-000").output
    for text in (
        "HR-Bench · 4K · single · ok",
        "3840×2160",
        "A. blue",
        "right     B (choice)",
        "1. perceive · stop · tokens: 1000 in, 880 visual, 64 cached, 12 out · queue 0.10 s",
        "image 2: crop (5, 10, 320, 420) of it, sent as 320×416, 130 visual tokens",
        "1. [10, 20, 30, 40]  sign  → crop 1",
        "ignored entry 2: not an object",
        "<answer>B</answer>",
        "answer: B",
        "2 calls · tokens: 2000 in",
    ):
        assert text in output, text
    assert ["strict", "1", "right", "B", "-"] in [line.split() for line in output.splitlines()]
    assert ["original", "1", "wrong", "A", "-"] in [line.split() for line in output.splitlines()]


def test_an_error_is_shown_with_its_role(out: Path, run_id: str) -> None:
    assert "error in reason: timeout: after 60 s" in show(out, run_id, "4K-001").output


def test_prompts_are_shown_on_request(out: Path, run_id: str) -> None:
    assert "system: Look." in show(out, run_id, "4K-000", "--prompts").output
    assert "system: Look." not in show(out, run_id, "4K-000").output


def test_text_of_a_model_does_not_drive_the_terminal(out: Path, run_id: str) -> None:
    output = show(out, run_id, "wild").output
    assert "\x1b" not in output and "\x07" not in output
    assert r"\x1b]0;title\x07 \ud800" in output and r"\x1b[31mB" in output


def test_json_holds_the_rows(out: Path, run_id: str) -> None:
    found = json.loads(show(out, run_id, "4K-000", "--json").output)
    assert found["run_id"] == run_id and found["sample"]["sample_id"] == "4K-000"
    assert [verdict["scorer"] for verdict in found["verdicts"]] == ["original", "strict"]


def test_a_run_is_named_by_folder_id_beginning_or_hash(out: Path, run_id: str) -> None:
    for name in (str(out / "runs" / run_id), run_id, run_id[:-1], run_id[-8:]):
        assert show(out, name, "4K-000").exit_code == 0, name


def test_names_that_fit_several_are_refused_with_the_list(out: Path, run_id: str) -> None:
    runs = show(out, "model-4b", "4K-000")
    assert runs.exit_code == 2 and runs.output.count("model-4b-p2r-hrbench-") >= 2
    samples = show(out, run_id, "4K-")
    assert samples.exit_code == 2 and "4K-000" in samples.output and "4K-001" in samples.output


def test_names_that_fit_nothing_are_refused_with_what_there_is(out: Path, run_id: str) -> None:
    assert run_id in show(out, "nope", "4K-000").output
    missing = show(out, run_id, "8K")
    assert missing.exit_code == 2 and "4K-000" in missing.output
