"""Comparison of two runs, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from p2r_bench.store.schema import METRICS, SAMPLES, VERDICTS, Column, Table
from p2r_bench.store.tables import read_rows

Row = Mapping[str, Any]


def differences(run_a: str | Path, run_b: str | Path, *, ignore: Iterable[str] = ()) -> list[str]:
    """Return the differences between the parquet files of two runs, one line each; empty when they are equal.

    Equal runs have the same rows with the same values, in any order. Volatile columns (timings, times of day,
    cached tokens) are not compared.

    Args:
        run_a, run_b: Run folders with finished parquet files.
        ignore: Further columns that are not compared, such as `engine`.

    Raises:
        UserError: A file is missing or damaged.
    """
    skipped = frozenset(ignore)
    return [
        f"{table.name} {line}"
        for table in (SAMPLES, VERDICTS, METRICS)
        for line in _table_differences(table, Path(run_a), Path(run_b), skipped)
    ]


def _table_differences(
    table: Table, run_a: Path, run_b: Path, skipped: frozenset[str]
) -> Iterator[str]:
    a, b = (_by_key(table, run / f"{table.name}.parquet") for run in (run_a, run_b))
    columns = [c for c in table.columns if not c.volatile and c.name not in skipped]
    for key in sorted(a.keys() | b.keys(), key=repr):
        if key not in a or key not in b:
            yield f"{key}: only in {run_b if key in b else run_a}"
            continue
        for column in columns:
            left, right = (_stable(column, rows[key][column.name]) for rows in (a, b))
            if left != right:
                yield f"{key} {column.name}: {left!r} and {right!r}"


def _by_key(table: Table, path: Path) -> dict[tuple[Any, ...], Row]:
    # Equal runs may have different names.
    names = [name for name in table.key if name != "run_id"]
    return {tuple(row[name] for name in names): row for row in read_rows(path, table)}


def _stable(column: Column, value: Any) -> Any:
    """Return a value without its volatile fields."""
    if not column.fields or value is None:
        return value
    kept = [field for field in column.fields if not field.volatile]
    return [{f.name: _stable(f, entry[f.name]) for f in kept} for entry in value]
