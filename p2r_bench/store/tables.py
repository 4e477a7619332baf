"""Parquet files of one of the documented tables: written in batches, checked for their version when read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from p2r_bench.errors import UserError
from p2r_bench.store.atomic import replacing
from p2r_bench.store.schema import SCHEMA_VERSION, VERSION_KEY, Table

Row = dict[str, Any]

BATCH_ROWS = 1000
"""Rows held in memory at a time; also the size of a row group."""


class TableWriter:
    """Writes rows to a parquet file; at most `BATCH_ROWS` are held."""

    def __init__(self, path: Path, table: Table) -> None:
        self._schema = table.schema
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[Row] = []

    def write(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) >= BATCH_ROWS:
            self._flush()

    def write_arrow(self, rows: Any) -> None:
        """Write an Arrow table with the documented columns."""
        self._flush()
        if rows.num_rows:
            self._writer.write_table(rows)

    def close(self) -> None:
        try:
            self._flush()
        finally:
            self._writer.close()

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(to_arrow(self._rows, self._schema))
            self._rows.clear()


def to_arrow(rows: Sequence[Row], schema: Any) -> Any:
    """An Arrow table of the rows. Lone surrogates, which UTF-8 cannot hold, become U+FFFD."""
    try:
        return pa.Table.from_pylist(rows, schema=schema)
    except UnicodeEncodeError:
        return pa.Table.from_pylist([_utf8(row) for row in rows], schema=schema)


def write_table(path: Path, table: Table, rows: Iterable[Row]) -> None:
    """Write a whole file and swap it in.

    Raises:
        UserError: The disk refused; what was there before is unchanged.
    """
    with replacing(path) as beside, TableWriter(beside, table) as writer:
        for row in rows:
            writer.write(row)


def read_rows(
    path: Path, table: Table, columns: Sequence[str] | None = None, *, where: Any = None
) -> Iterator[Row]:
    """Rows of a file, a batch in memory at a time. Columns that an older file lacks are None.

    Args:
        columns: Names to read; default all.
        where: A pyarrow filter, such as [("sample_id", "==", "a")].

    Raises:
        UserError: Not a parquet file, or written by a newer version.
    """
    names = table.names if columns is None else columns
    try:
        with pq.ParquetFile(path) as file:
            check_version(path, file.schema_arrow.metadata)
            stored = [name for name in names if name in file.schema_arrow.names]
            empty = dict.fromkeys(names)
            if where is None:
                batches = file.iter_batches(BATCH_ROWS, columns=stored)
            else:
                batches = pq.read_table(path, columns=stored, filters=where).to_batches()
            for batch in batches:
                for row in batch.to_pylist():
                    yield {**empty, **row}
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"{path}: cannot be read as parquet ({error}). Restore it, or delete it and run "
            "the command that made it again."
        ) from error


def check_version(path: Path, metadata: dict[bytes, bytes] | None) -> None:
    """Raise UserError when the file comes from a newer schema, or is no file of ours."""
    found = (metadata or {}).get(VERSION_KEY)
    if found is None:
        raise UserError(
            f"{path}: was not written by p2r-bench (no schema version in its metadata)."
        )
    if int(found) > SCHEMA_VERSION:
        raise UserError(
            f"{path}: has schema version {int(found)}, this p2r-bench reads up to {SCHEMA_VERSION}. "
            "Upgrade p2r-bench."
        )


def _utf8(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {key: _utf8(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_utf8(item) for item in value]
    return value
