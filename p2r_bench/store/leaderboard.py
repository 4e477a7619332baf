"""`leaderboard.parquet`: the figures of all runs in a folder, readable with pandas alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from p2r_bench.atomic import remove_temporaries
from p2r_bench.errors import UserError
from p2r_bench.store.lock import Lock
from p2r_bench.store.reference import reference_rows
from p2r_bench.store.schema import LEADERBOARD
from p2r_bench.store.tables import read_rows, write_table

Row = dict[str, Any]

FILE = "leaderboard.parquet"
_FIGURE = ("scorer", "metric", "subset", "category")
_WAIT_SECONDS = 60.0


def read_leaderboard(out_dir: str | Path) -> list[Row]:
    """Return the reference rows and the rows of the runs in a folder, with a column `reference`.

    A complete run in the folder replaces its reference rows. An incomplete one is listed beside them.

    Raises:
        UserError: A file is damaged or of a newer version.
    """
    rows = read_runs(out_dir)
    done = _complete_runs(rows)
    reference = [row for row in reference_rows() if row["run_id"] not in done]
    return [
        *({**row, "reference": True} for row in reference),
        *({**row, "reference": False} for row in rows),
    ]


def read_runs(out_dir: str | Path) -> list[Row]:
    """Return the rows of `leaderboard.parquet` that runs have written; none without the file.

    Raises:
        UserError: The file is damaged or of a newer version.
    """
    path = Path(out_dir) / FILE
    if not path.exists():
        return []
    try:
        # Earlier versions stored the published rows in the same file.
        return [row for row in read_rows(path, LEADERBOARD) if row["source"] != "reported"]
    except UserError as error:
        raise UserError(
            f"{error} `p2r-bench leaderboard --rebuild` makes it again from the run folders."
        ) from error


def update_leaderboard(out_dir: str | Path, rows: Sequence[Row]) -> Path:
    """Replace a run's rows and keep those of other runs. Several processes may call this at the same time.

    An incomplete figure never replaces a complete one. A run whose stored headline figures are complete
    keeps all its rows when the new ones are incomplete, as after a short trial of a run whose folder was
    deleted. The new figures are then in the run's `metrics.parquet` only.

    Raises:
        UserError: The file is damaged, of a newer version, or cannot be written.
    """

    def replace(stored: list[Row]) -> list[Row]:
        mine = {row["run_id"] for row in rows}
        kept = mine & (_complete_runs(stored) - _complete_runs(rows))
        before = {_key(row): row for row in stored}
        return [
            *(row for row in stored if row["run_id"] not in mine or row["run_id"] in kept),
            *(_better(before.get(_key(row)), row) for row in rows if row["run_id"] not in kept),
        ]

    return _rewrite(out_dir, replace)


def remove_runs(out_dir: str | Path, run_ids: Collection[str]) -> Path:
    """Remove the rows of these runs. Errors as `update_leaderboard`."""
    return _rewrite(out_dir, lambda stored: [r for r in stored if r["run_id"] not in run_ids])


def replace_leaderboard(out_dir: str | Path, rows: Iterable[Row]) -> Path:
    """Write a new file. The one before, readable or not, is kept as `leaderboard.parquet.bak`.

    Raises:
        UserError: The file cannot be written.
    """
    path = Path(out_dir) / FILE
    with _locked(path):
        if path.exists():
            path.replace(path.with_name(f"{FILE}.bak"))
        write_table(path, LEADERBOARD, sorted(rows, key=_place))
    return path


def _rewrite(out_dir: str | Path, change: Callable[[list[Row]], list[Row]]) -> Path:
    path = Path(out_dir) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        write_table(path, LEADERBOARD, sorted(change(read_runs(out_dir)), key=_place))
    return path


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = Lock(path.with_name(f".{FILE}.lock"))
    lock.acquire(str(path), timeout=_WAIT_SECONDS)
    try:
        remove_temporaries(path.parent, path.name)
        yield
    finally:
        lock.release()


def _complete_runs(rows: Iterable[Row]) -> set[str]:
    """Return the ids of the runs whose headline figures are all complete."""
    complete: dict[str, bool] = {}
    for row in rows:
        if row["headline"]:
            complete[row["run_id"]] = complete.get(row["run_id"], True) and bool(row["complete"])
    return {run for run, done in complete.items() if done}


def _better(before: Row | None, row: Row) -> Row:
    if before is not None and before["complete"] and not row["complete"]:
        return {**before, "headline": row["headline"]}
    return row


def _key(row: Row) -> tuple[Any, ...]:
    return (row["run_id"], *(row[name] for name in _FIGURE))


def _place(row: Row) -> tuple[str, str]:
    """Sort key of the file: by task and run; the rows of a run keep their order."""
    return (row["task"] or "", row["run_id"] or "")
