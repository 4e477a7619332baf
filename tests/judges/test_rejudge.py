"""`p2r-bench score RUN`: verdicts and metrics of a stored run, without a model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from p2r_bench.cli import main
from p2r_bench.errors import UserError
from p2r_bench.judges.strict import Strict
from p2r_bench.judges.verdicts import verdict_of
from p2r_bench.run.rejudge import rejudge
from p2r_bench.store.identity import RunIdentity, RunLabels, Session
from p2r_bench.store.leaderboard import read_leaderboard
from p2r_bench.store.rows import sample_row, verdict_row
from p2r_bench.store.run_folder import RunFolder
from p2r_bench.types import ErrorInfo, Judge, Prediction, Sample
from tests.judges.samples import sample

ANSWERS = ("B", "(B)", "Based on it I cannot tell", "green", None)
IDENTITY = RunIdentity("HR-Bench", "p2r", "p2r-bench 0", {"reason": "digest"}, "data", "profile")
OVERALL = ((None, None),)


def store_run(
    out: Path, judges: Sequence[Judge] = (Strict(),), answers: Sequence[Any] = ANSWERS
) -> Path:
    """A finished run with these answers to questions whose right option is B, and one failed sample."""

    async def work() -> Path:
        labels = RunLabels({"reason": "model"}, "p2r")
        with RunFolder.open(out, IDENTITY, labels) as folder:
            folder.begin(Session(pinned={}))
            samples: list[Sample] = []
            for index, answer in enumerate([*answers, OSError("gone")]):
                one = replace(sample("B"), id=f"s{index}", group=f"g{index}")
                samples.append(one)
                failed = isinstance(answer, Exception)
                prediction = (
                    Prediction(one.id, status="error", error=ErrorInfo("OSError", str(answer)))
                    if failed
                    else Prediction(one.id, answer=answer)
                )
                verdicts = [] if failed else [await verdict_of(j, one, prediction) for j in judges]
                await folder.record(
                    sample_row(one, prediction, index=index, cells=OVERALL),
                    [verdict_row(verdict, index=index) for verdict in verdicts],
                )
            folder.finish({one.id: OVERALL for one in samples}, scorer="strict")
            return folder.path

    return asyncio.run(work())


def figures(rows: Sequence[Any]) -> dict[str, tuple[Any, ...]]:
    """Scorer to value, scored, no answer, errors and whether it is the headline."""
    return {
        r["scorer"]: (r["value"], r["n"], r["n_no_answer"], r["n_errors"], r["headline"])
        for r in rows
    }


def test_missing_verdicts_are_added_and_the_headline_is_kept(tmp_path: Path) -> None:
    result = rejudge(store_run(tmp_path))
    assert (result.judged, result.kept, result.errors) == (10, 5, 0)
    assert figures(result.metrics) == {
        "strict": (0.4, 5, 2, 1, True),
        "original": (0.6, 5, 2, 1, False),
        "vlmevalkit": (0.4, 5, 2, 1, False),
    }


def test_a_scorer_can_become_the_headline_and_stays_it(tmp_path: Path) -> None:
    run = store_run(tmp_path)
    rejudge(run, scorer="original")
    again = rejudge(run)
    assert (again.judged, again.kept) == (0, 15)
    assert {name: row[-1] for name, row in figures(again.metrics).items()} == {
        "original": True,
        "strict": False,
        "vlmevalkit": False,
    }


def test_the_leaderboard_is_brought_up_to_date(tmp_path: Path) -> None:
    run = store_run(tmp_path)
    rejudge(run)
    rows = [row for row in read_leaderboard(tmp_path) if row["run_id"] == run.name]
    assert figures(rows).keys() == {"strict", "original", "vlmevalkit"}


def test_a_run_that_was_moved_out_of_its_place_keeps_its_leaderboard_out_of_it(
    tmp_path: Path,
) -> None:
    run = store_run(tmp_path)
    moved = run.rename(tmp_path / "copy")
    rejudge(moved)
    assert not list(tmp_path.rglob("leaderboard.parquet"))


def test_verdicts_of_another_version_are_replaced(tmp_path: Path) -> None:
    class Older(Strict):
        version = "0"

    result = rejudge(store_run(tmp_path, (Older(),)))
    assert (result.judged, result.kept) == (15, 0)
    (row,) = [row for row in result.metrics if row["scorer"] == "strict"]
    assert (row["scorer_version"], row["value"]) == ("3", 0.4)


def test_error_verdicts_are_tried_again(tmp_path: Path) -> None:
    class Failing(Strict):
        async def judge(self, sample: Sample, prediction: Prediction) -> Any:
            raise RuntimeError("out of order")

    result = rejudge(store_run(tmp_path, (Failing(),)))
    assert (result.judged, result.kept, result.errors) == (15, 0, 0)


def test_what_is_complete_stays_complete(tmp_path: Path) -> None:
    async def retry() -> None:
        with RunFolder.open_to_score(run) as folder:
            folder.begin(Session(pinned={}))
            one = replace(sample("B"), id=f"s{len(ANSWERS)}")
            row = sample_row(one, Prediction(one.id, answer="B"), index=len(ANSWERS), cells=OVERALL)
            await folder.record(row, [])

    run = store_run(tmp_path)
    assert not any(row["complete"] for row in rejudge(run).metrics)
    asyncio.run(retry())
    assert all(row["complete"] for row in rejudge(run).metrics)


def test_a_failed_sample_is_never_judged(tmp_path: Path) -> None:
    run = store_run(tmp_path)
    rejudge(run)
    with RunFolder.open_to_score(run) as folder:
        row, verdicts = folder.outcome((f"s{len(ANSWERS)}", 0))
    assert row["status"] == "error" and verdicts == []


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        rejudge(tmp_path)


def test_the_command_judges_several_runs(tmp_path: Path) -> None:
    runs = [str(store_run(tmp_path / name)) for name in ("one", "two")]
    result = CliRunner().invoke(main, ["score", *runs, "--scorer", "original", "--json"])
    assert result.exit_code == 0, result.output
    records = json.loads(result.stdout)
    assert [(r["path"], r["judged"], r["kept"]) for r in records] == [(run, 10, 5) for run in runs]
    shown = CliRunner().invoke(main, ["score", runs[0]])
    assert "0 new verdicts, 15 kept" in shown.stdout
    assert "60.0 %" in shown.stdout
