"""The table of all runs."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from p2r_bench.errors import UserError
from p2r_bench.store.leaderboard import (
    read_leaderboard,
    read_runs,
    remove_runs,
    update_leaderboard,
)
from p2r_bench.store.rebuild import rebuild_leaderboard
from p2r_bench.store.reference import reference_rows
from p2r_bench.store.schema import LEADERBOARD
from p2r_bench.store.tables import write_table
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


def overall(rows: Any) -> dict[Any, tuple[Any, Any]]:
    """Seed to value and number of the overall figures."""
    return {r["seed"]: (r["value"], r["n"]) for r in rows if r["subset"] is None}


def test_runs_write_their_rows_and_nothing_else(tmp_path: Path) -> None:
    rows = run_rows(tmp_path, 6)
    frame = pd.read_parquet(update_leaderboard(tmp_path, rows))
    assert list(frame.columns) == list(LEADERBOARD.names)
    assert len(frame) == len(rows) == 3 and set(frame["source"]) == {"measured"}
    assert set(frame["value"]) == {0.75} and set(frame["engine"]) == {"fake"}


def test_the_reference_figures_are_read_beside_the_runs(tmp_path: Path) -> None:
    assert [r["reference"] for r in read_leaderboard(tmp_path)] == [True] * len(reference_rows())
    update_leaderboard(tmp_path, run_rows(tmp_path, 6))
    rows = read_leaderboard(tmp_path)
    assert [r["reference"] for r in rows] == [True] * len(reference_rows()) + [False] * 3


def test_a_runs_rows_are_replaced_and_others_kept(tmp_path: Path) -> None:
    update_leaderboard(tmp_path, run_rows(tmp_path, 6, done=4))
    update_leaderboard(tmp_path, run_rows(tmp_path, 2, seed=1))
    update_leaderboard(tmp_path, run_rows(tmp_path, 6))
    rows = read_runs(tmp_path)
    assert len(rows) == 6 and overall(rows) == {0: (0.75, 8), 1: (0.25, 8)}


def test_an_incomplete_run_never_replaces_a_complete_one(tmp_path: Path) -> None:
    update_leaderboard(tmp_path, run_rows(tmp_path, 6))
    shutil.rmtree(tmp_path / "runs")
    update_leaderboard(tmp_path, run_rows(tmp_path, 2, done=2))
    assert overall(read_runs(tmp_path)) == {0: (0.75, 8)}
    update_leaderboard(tmp_path, run_rows(tmp_path, 2))
    assert overall(read_runs(tmp_path)) == {0: (0.25, 8)}, "a complete one does"


def test_a_later_incomplete_run_replaces_an_earlier_one(tmp_path: Path) -> None:
    update_leaderboard(tmp_path, run_rows(tmp_path, 6, done=2))
    update_leaderboard(tmp_path, run_rows(tmp_path, 6, done=4))
    assert overall(read_runs(tmp_path)) == {0: (1.0, 4)}


def test_a_scorer_that_fails_now_leaves_its_complete_figures_alone(tmp_path: Path) -> None:
    rows = run_rows(tmp_path, 6)
    others = [{**row, "scorer": "verifier", "headline": False} for row in rows]
    update_leaderboard(tmp_path, [*rows, *others])
    failing = [{**row, "value": None, "complete": False} for row in others]
    update_leaderboard(tmp_path, [*({**row, "value": 0.5} for row in rows), *failing])
    found = {(row["scorer"], row["headline"], row["value"]) for row in read_runs(tmp_path)}
    assert found == {("strict", True, 0.5), ("verifier", False, 0.75)}


def test_a_complete_run_stands_in_the_place_of_its_reference_figures(tmp_path: Path) -> None:
    reference = [row for row in reference_rows() if row["source"] == "measured"]
    again = [r for r in reference if r["run_id"] == reference[0]["run_id"]]
    update_leaderboard(tmp_path, [{**row, "complete": False, "value": 1.0} for row in again])
    beside = [r for r in read_leaderboard(tmp_path) if r["run_id"] == again[0]["run_id"]]
    assert len(beside) == 2 * len(again)
    update_leaderboard(tmp_path, [{**row, "value": 1.0} for row in again])
    alone = [r for r in read_leaderboard(tmp_path) if r["run_id"] == again[0]["run_id"]]
    assert [(r["reference"], r["value"]) for r in alone] == [(False, 1.0)] * len(again)


def test_runs_that_finish_at_once_all_arrive(tmp_path: Path) -> None:
    template = run_rows(tmp_path, 6)
    runs = [[{**row, "run_id": f"run-{n}"} for row in template] for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda rows: update_leaderboard(tmp_path, rows), runs))
    assert {row["run_id"] for row in read_runs(tmp_path)} == {f"run-{n}" for n in range(6)}


def test_published_rows_of_an_earlier_versions_file_are_not_shown_twice(tmp_path: Path) -> None:
    write_table(tmp_path / "leaderboard.parquet", LEADERBOARD, reference_rows())
    reported = [row for row in read_leaderboard(tmp_path) if row["source"] == "reported"]
    assert len(reported) == 200 and all(row["reference"] for row in reported)


def test_a_damaged_leaderboard_is_named_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.parquet"
    path.write_bytes(b"not parquet")
    with pytest.raises(UserError, match=r"leaderboard\.parquet: cannot be read.*--rebuild"):
        update_leaderboard(tmp_path, run_rows(tmp_path, 6))
    assert path.read_bytes() == b"not parquet"


def test_a_leaderboard_is_rebuilt_from_the_run_folders(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.parquet"
    for seed in (0, 1):
        update_leaderboard(tmp_path, run_rows(tmp_path, 6, seed=seed))
    before = read_runs(tmp_path)
    path.write_bytes(b"not parquet")
    with open_folder(tmp_path, seed=2) as folder:
        folder.begin(SESSION)
        asyncio.run(folder.record(*outcome(0)))
    done = rebuild_leaderboard(tmp_path)
    assert read_runs(tmp_path) == before and done.runs == 2
    (left_out,) = done.left_out
    assert folder.run_id in left_out and "Run the same command again" in left_out
    assert path.with_name("leaderboard.parquet.bak").read_bytes() == b"not parquet"


def test_without_runs_nothing_is_rebuilt(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run found"):
        rebuild_leaderboard(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_removed_runs_leave_the_others(tmp_path: Path) -> None:
    rows = [*run_rows(tmp_path, 6), *run_rows(tmp_path, 2, seed=1)]
    update_leaderboard(tmp_path, rows)
    remove_runs(tmp_path, {rows[0]["run_id"]})
    assert overall(read_runs(tmp_path)) == {1: (0.25, 8)}
