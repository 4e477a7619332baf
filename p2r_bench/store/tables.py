"""Parquet files of the documented tables: written in batches, with page checksums and schema version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from p2r_bench.atomic import replacing
from p2r_bench.errors import UserError
from p2r_bench.store.schema import SAMPLES, SCHEMA_VERSION, VERSION_KEY, Column, Table, columns

__all__ = [
    "SAMPLES",
    "Column",
    "Row",
    "Table",
    "TableWriter",
    "check_version",
    "columns",
    "read_rows",
    "to_arrow",
    "write_table",
]

Row = dict[str, Any]

BATCH_ROWS = 1000
"""Number of rows held in memory, and size of a row group."""


class TableWriter:
    """Write rows to a parquet file in row groups of `BATCH_ROWS`."""

    def __init__(self, path: Path, table: Table) -> None:
        self._schema = table.schema
        # Given a path, Arrow would read "s3:x" as an address and fail on a name that is not UTF-8.
        self._file = path.open("wb")
        self._writer = pq.ParquetWriter(
            self._file, self._schema, compression="zstd", write_page_checksum=True
        )
        self._rows: list[Row] = []

    def write(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) >= BATCH_ROWS:
            self._flush()

    def close(self) -> None:
        try:
            self._flush()
        finally:
            self._end()

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._end()

    def _end(self) -> None:
        try:
            self._writer.close()
        finally:
            self._file.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(to_arrow(self._rows, self._schema))
            self._rows.clear()


def to_arrow(rows: Sequence[Row], schema: Any) -> Any:
    """Return the rows as an Arrow table. Lone surrogates, which UTF-8 cannot hold, become U+FFFD."""
    try:
        return pa.Table.from_pylist(rows, schema=schema)
    except UnicodeEncodeError:
        return pa.Table.from_pylist([_valid_unicode(row) for row in rows], schema=schema)


def write_table(path: Path, table: Table, rows: Iterable[Row]) -> None:
    """Write a whole file, replacing the earlier one atomically.

    Raises:
        UserError: The file cannot be written; the one before is unchanged.
    """
    with replacing(path) as beside, TableWriter(beside, table) as writer:
        for row in rows:
            writer.write(row)


def read_rows(
    path: Path, table: Table, columns: Sequence[str] | None = None, *, where: Any = None
) -> Iterator[Row]:
    """Yield the rows of a file, with one batch in memory at a time. Columns that an older file lacks are None.

    Args:
        columns: Names to read; default all.
        where: A pyarrow filter, such as [("sample_id", "==", "a")].

    Raises:
        UserError: The file is damaged (page checksums are verified), is not parquet, or has a newer schema.
    """
    names = table.names if columns is None else columns
    empty = dict.fromkeys(names)
    try:
        with (
            path.open("rb") as source,
            pq.ParquetFile(source, page_checksum_verification=True) as file,
        ):
            check_version(path, file.schema_arrow.metadata)
            stored = [name for name in names if name in file.schema_arrow.names]
            if where is None:
                batches = file.iter_batches(BATCH_ROWS, columns=stored)
            else:
                batches = pq.read_table(
                    source, columns=stored, filters=where, page_checksum_verification=True
                ).to_batches()
            for batch in batches:
                for row in batch.to_pylist():
                    yield {**empty, **row}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(_unreadable(path, error)) from error


def read_columns(path: Path, table: Table, columns: Sequence[str]) -> Any:
    """Return columns of a whole file as an Arrow table; those that an older file lacks are null.

    Raises:
        UserError: As `read_rows`.
    """
    try:
        with path.open("rb") as source:
            stored = pq.read_schema(source)
            check_version(path, stored.metadata)
            found = pq.read_table(
                source,
                columns=[name for name in columns if name in stored.names],
                page_checksum_verification=True,
            )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(_unreadable(path, error)) from error
    for name in columns:
        if name not in found.column_names:
            kind = table.schema.field(name).type
            found = found.append_column(name, pa.nulls(len(found), kind))
    return found.select(columns)


def _unreadable(path: Path, error: Exception) -> str:
    return (
        f"{path}: cannot be read as parquet ({error}). Restore it, or delete it and run "
        "the command that made it again."
    )


def check_version(path: Path, metadata: dict[bytes, bytes] | None) -> None:
    """Raise UserError when the file comes from a newer schema, or was not written by p2r-bench."""
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


def _valid_unicode(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {key: _valid_unicode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_valid_unicode(item) for item in value]
    return value
