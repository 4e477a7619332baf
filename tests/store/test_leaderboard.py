"""The table of all runs."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from p2r_bench.cli import main
from p2r_bench.errors import UserError
from p2r_bench.store.leaderboard import ranked, read_leaderboard, reported_rows, update_leaderboard
from p2r_bench.store.schema import LEADERBOARD
from tests.store.building import CELLS, SESSION, make_sample, open_folder, outcome


def run_rows(out: Path, right: int, of: int = 8, done: int | None = None, **identity: Any) -> Any:
    """Metric rows of a run with `right` right answers, `done` of `of` samples recorded."""
    with open_folder(out, **identity) as folder:
        folder.begin(SESSION)

        async def record() -> None:
            for n in range(of if done is None else done):
                await folder.record(*outcome(n, correct=n < right))

        asyncio.run(record())
        return folder.finish({make_sample(n).id: CELLS for n in range(of)}, scorer="strict")


def leaderboard(out: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["leaderboard", "--out", str(out), *options])


def test_a_new_leaderboard_holds_the_published_rows_and_the_run(tmp_path: Path) -> None:
    rows = run_rows(tmp_path, 6)
    path = update_leaderboard(tmp_path, rows)
    frame = pd.read_parquet(path)
    assert list(frame.columns) == list(LEADERBOARD.names)
    reported = frame[frame["source"] == "reported"]
    assert len(reported) == len(reported_rows()) > 100
    p2r = reported[(reported["model"] == "P2R-4B") & (reported["task"] == "V-Star")]
    assert p2r[p2r["category"].isna()]["value"].item() == pytest.approx(0.932)
    measured = frame[frame["source"] == "measured"]
    assert len(measured) == len(rows) == 3
    assert set(measured["value"]) == {0.75} and set(measured["engine"]) == {"fake"}


def test_a_runs_rows_are_replaced_and_others_kept(tmp_path: Path) -> None:
    update_leaderboard(tmp_path, run_rows(tmp_path, 6, done=4))
    update_leaderboard(tmp_path, run_rows(tmp_path, 2, seed=1))
    update_leaderboard(tmp_path, run_rows(tmp_path, 6))
    measured = [r for r in read_leaderboard(tmp_path) if r["source"] == "measured"]
    overall = {r["seed"]: r["value"] for r in measured if r["subset"] is None}
    assert len(measured) == 6 and overall == {0: 0.75, 1: 0.25}


def test_runs_that_finish_at_once_all_arrive(tmp_path: Path) -> None:
    template = run_rows(tmp_path, 6)
    runs = [[{**row, "run_id": f"run-{n}"} for row in template] for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda rows: update_leaderboard(tmp_path, rows), runs))
    found = {row["run_id"] for row in read_leaderboard(tmp_path)}
    assert found == {None, *(f"run-{n}" for n in range(6))}


def test_a_damaged_leaderboard_is_named_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.parquet"
    path.write_bytes(b"not parquet")
    with pytest.raises(UserError, match=r"leaderboard\.parquet: cannot be read"):
        update_leaderboard(tmp_path, [])
    assert path.read_bytes() == b"not parquet"


def row(value: float | None, **changes: Any) -> dict[str, Any]:
    given = {"value": value, "task": "T", "metric": "accuracy", "source": "measured"}
    return {**dict.fromkeys(LEADERBOARD.names), **given, "complete": True, **changes}


def test_only_complete_measured_runs_are_ranked() -> None:
    rows = [
        row(0.5),
        row(0.9, complete=False),
        row(0.7),
        row(0.95, source="reported", complete=None),
        row(None),
        row(0.7),
    ]
    assert [(r["value"], r["rank"]) for r in ranked(rows)] == [
        (0.95, None),
        (0.9, None),
        (0.7, 1),
        (0.7, 1),
        (0.5, 3),
        (None, None),
    ]


@pytest.mark.parametrize(
    "column", ["task", "subset", "category", "metric", "scorer", "data_digest"]
)
def test_figures_that_cannot_be_compared_have_ranks_of_their_own(column: str) -> None:
    assert [r["rank"] for r in ranked([row(0.5), row(0.7, **{column: "other"})])] == [1, 1]


def test_the_table_shows_categories_intervals_and_gaps(tmp_path: Path) -> None:
    update_leaderboard(tmp_path, run_rows(tmp_path, 6))
    update_leaderboard(tmp_path, run_rows(tmp_path, 4, done=4, seed=1))
    output = leaderboard(tmp_path, "--task", "HR-Bench", "--source", "measured").output
    header, complete, partial = output.split("HR-Bench 4K")[1].splitlines()[1:4]
    assert header.split()[:4] == ["#", "model", "mode", "all"] and "single" in header
    assert partial.split()[0] == "1" and "75.0" in partial
    assert complete.split()[0] == "-" and "50.0–100.0 (4 missing)" in complete


def test_without_a_leaderboard_the_published_rows_are_shown(tmp_path: Path) -> None:
    result = leaderboard(tmp_path, "--model", "*4b*")
    assert "P2R-4B" in result.output and "Qwen3-VL-4B-Instruct" in result.output
    assert "GPT-4o" not in result.output and list(tmp_path.iterdir()) == []


def test_json_and_csv_hold_every_figure(tmp_path: Path) -> None:
    update_leaderboard(tmp_path, run_rows(tmp_path, 6))
    as_json = json.loads(leaderboard(tmp_path, "--json", "--mode", "p2r").output)
    as_csv = list(
        csv.DictReader(
            io.StringIO(leaderboard(tmp_path, "--format", "csv", "--mode", "p2r").output)
        )
    )
    assert set(as_json[0]) == {*LEADERBOARD.names, "rank"} == set(as_csv[0])
    assert [r["value"] for r in as_json] == [0.75] * 3 == [float(r["value"]) for r in as_csv]


def test_markdown_and_latex_are_tables(tmp_path: Path) -> None:
    update_leaderboard(tmp_path, [{**r, "model": "a_b|c&d"} for r in run_rows(tmp_path, 6)])
    markdown = leaderboard(tmp_path, "--format", "markdown", "--mode", "p2r").output
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert (
        r"a_b\|c&d" in markdown
        and len({line.replace(r"\|", "").count("|") for line in lines[:3]}) == 1
    )
    latex = leaderboard(tmp_path, "--format", "latex", "--mode", "p2r").output
    assert r"a\_b|c\&d & p2r & 75.0" in latex and latex.count(r"\begin{tabular}") == 2


def test_a_filter_that_nothing_passes_says_what_there_is(tmp_path: Path) -> None:
    result = leaderboard(tmp_path, "--task", "Nope")
    assert result.exit_code == 2 and "--task" in result.output and "V-Star" in result.output
