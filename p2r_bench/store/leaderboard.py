"""The table of all runs: `leaderboard.parquet`, which needs only pandas to be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from p2r_bench.store.lock import Lock
from p2r_bench.store.published import published_rows
from p2r_bench.store.schema import LEADERBOARD
from p2r_bench.store.tables import read_rows, write_table

Row = dict[str, Any]

FILE = "leaderboard.parquet"
_WAIT_SECONDS = 60.0


def read_leaderboard(out_dir: str | Path) -> list[Row]:
    """All rows; the published ones alone when there is no leaderboard yet.

    Raises:
        UserError: The file is damaged or of a newer version.
    """
    path = Path(out_dir) / FILE
    return list(read_rows(path, LEADERBOARD)) if path.exists() else reported_rows()


def update_leaderboard(out_dir: str | Path, rows: Sequence[Row]) -> Path:
    """Put a run's metric rows in the place of those it had before; other runs' rows stay.

    A missing leaderboard is made, with the published rows in it. Several processes may call this.

    Raises:
        UserError: The file is damaged, of a newer version, or cannot be written.
    """
    path = Path(out_dir) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(path.with_name(f".{FILE}.lock"))
    lock.acquire(str(path), timeout=_WAIT_SECONDS)
    try:
        replaced = {row["run_id"] for row in rows}
        kept = [row for row in read_leaderboard(out_dir) if row["run_id"] not in replaced]
        write_table(path, LEADERBOARD, sorted([*kept, *rows], key=_place))
    finally:
        lock.release()
    return path


def reported_rows() -> list[Row]:
    """The published figures as leaderboard rows: source "reported", null where nothing is printed."""
    empty = dict.fromkeys(LEADERBOARD.names)
    return [
        {**empty, **asdict(row), "metric": "accuracy", "per": "sample", "headline": True}
        for row in published_rows()
    ]


def ranked(rows: Iterable[Row]) -> list[Row]:
    """The rows with a column `rank`, best first within each figure.

    A figure is a task, subset, category, metric, scorer and data digest: numbers on other data, or by
    other rules, are other figures. A rank is given to measured and complete rows; equal values share
    it. All other rows stand where their value puts them, with rank None.
    """
    figures: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        names = ("task", "subset", "category", "metric", "scorer", "data_digest")
        figures.setdefault(tuple(row[name] for name in names), []).append(row)
    result = []
    for figure in figures.values():
        figure.sort(key=lambda row: -1.0 if row["value"] is None else row["value"], reverse=True)
        values = [row["value"] for row in figure if rankable(row)]
        result += [
            {**row, "rank": values.index(row["value"]) + 1 if rankable(row) else None}
            for row in figure
        ]
    return result


def rankable(row: Row) -> bool:
    """Whether a row may be compared with others: measured, nothing missing, and something scored."""
    return bool(row["source"] == "measured" and row["complete"] and row["value"] is not None)


def _place(row: Row) -> tuple[Any, ...]:
    """Order of the file: published rows as printed, then run after run as their rows came."""
    return (row["source"] != "reported", row["task"] if row["run_id"] else "", row["run_id"] or "")
