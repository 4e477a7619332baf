"""Parquet and Arrow shards: finding files, reading rows without images, reading single values.

Arrow IPC streams (as saved by `datasets`) and IPC files are both read. No column of images is held in memory: Arrow is
memory-mapped, parquet is read page by page.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from p2r_bench.errors import UserError
from p2r_bench.tasks.column import ParquetColumn, Window, rows_at_once

SUFFIXES = (".parquet", ".arrow")
_IPC_FILE_MAGIC = b"ARROW1"
_BUFFER = 1 << 20
_ROWS_AT_ONCE = 512
_BYTES_AT_ONCE = 64 << 20


def find_shards(folder: Path) -> list[Path]:
    """Return all shards below `folder`, in natural order of their names.

    Hidden folders (download metadata) and `cache-*.arrow` (transforms cached by `datasets`) are left out.
    """
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix in SUFFIXES
        and path.is_file()
        and not path.name.startswith(("cache-", "."))
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(found, key=lambda path: _natural(path.relative_to(folder).as_posix()))


def _natural(name: str) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdigit() else (-1, part)
        for part in re.split(r"(\d+)", name)
        if part
    ]


class Shard(ABC):
    """One file of rows. Rows are counted from 0. Safe to use from several threads."""

    def __init__(self, path: Path, schema: pa.Schema, num_rows: int) -> None:
        self.path = path
        self.schema = schema
        self.num_rows = num_rows

    @abstractmethod
    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield all rows of the named top-level columns, some hundred at a time."""

    @abstractmethod
    def value(self, column: str, row: int) -> pa.Scalar:
        """Return one value of a top-level column; fastest for rows in order."""

    def rows(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield all rows as dictionaries of the named columns; no other column is read.

        Raises:
            UserError: A damaged file.
        """
        try:
            for batch in self.batches(columns):
                yield from _rows_of(batch)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{self.path}: damaged: {error}; fetch the file again") from error


class _NotText:
    """Placeholder for undecodable text: every field refuses it, and the error shows it."""

    def __repr__(self) -> str:
        return "<text that is not UTF-8>"


def _rows_of(batch: pa.RecordBatch) -> Iterable[dict[str, Any]]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        columns = [[_value(scalar) for scalar in column] for column in batch.columns]
        for values in zip(*columns, strict=True):
            yield dict(zip(batch.schema.names, values, strict=True))


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return _NotText()


class ParquetShard(Shard):
    """A parquet file, read through a small buffer so that no column chunk is held whole."""

    def __init__(self, path: Path, window: Window | None = None) -> None:
        self._file = pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER)
        self._window = window or Window()
        self._columns: dict[str, ParquetColumn] = {}
        self._lock = Lock()
        super().__init__(path, self._file.schema_arrow, self._file.metadata.num_rows)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        groups = range(self._file.metadata.num_row_groups)
        at_once = rows_at_once(self._file, groups, columns, _BYTES_AT_ONCE, _ROWS_AT_ONCE)
        done = 0
        while True:
            seen = 0
            batches = self._file.iter_batches(at_once, columns=list(columns), use_threads=False)
            try:
                for batch in batches:
                    new = min(batch.num_rows, seen + batch.num_rows - done)
                    seen += batch.num_rows
                    if new > 0:
                        done = seen
                        yield batch.slice(batch.num_rows - new)
                return
            except pa.ArrowNotImplementedError:
                # Over 2 GiB in a batch: repeated values look small in the footer.
                if at_once == 1:
                    raise
                at_once = max(1, at_once // 8)

    def value(self, column: str, row: int) -> pa.Scalar:
        with self._lock:
            if column not in self._columns:
                self._columns[column] = ParquetColumn(self._file, column, self._window)
        return self._columns[column].value(row)

    def close(self) -> None:
        """Drop the columns opened by `value`."""
        with self._lock:
            for column in self._columns.values():
                column.close()
            self._columns.clear()


class ArrowShard(Shard):
    """A memory-mapped Arrow IPC stream or file; rows in any order cost the same."""

    def __init__(self, path: Path) -> None:
        source = pa.memory_map(str(path))
        self._lock = Lock()
        self._batch: Callable[[int], pa.RecordBatch]
        if source.read(len(_IPC_FILE_MAGIC)) == _IPC_FILE_MAGIC:
            file = pa.ipc.open_file(source)
            schema, self._batch = file.schema, file.get_batch
            sizes = [file.get_batch(i).num_rows for i in range(file.num_record_batches)]
        else:
            source.seek(0)
            stream = pa.ipc.open_stream(source)
            held = list(stream)
            schema, self._batch = stream.schema, held.__getitem__
            sizes = [batch.num_rows for batch in held]
        self._starts = list(accumulate(sizes, initial=0))
        super().__init__(path, schema, self._starts[-1])

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for index in range(len(self._starts) - 1):
            with self._lock:
                batch = self._batch(index).select(list(columns))
            for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
                yield batch.slice(start, _ROWS_AT_ONCE)

    def value(self, column: str, row: int) -> pa.Scalar:
        if not 0 <= row < self.num_rows:
            raise IndexError(row)
        index = bisect_right(self._starts, row) - 1
        with self._lock:
            return self._batch(index).column(column)[row - self._starts[index]]


def open_shard(path: Path, window: Window | None = None) -> Shard:
    """Open a shard by its suffix; only its footer or its batch headers are read.

    Raises:
        UserError: A missing file, or one of another format, such as a Git LFS pointer.
    """
    try:
        return ArrowShard(path) if path.suffix == ".arrow" else ParquetShard(path, window)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (pa.ArrowException, OSError) as error:
        hint = "a Git LFS pointer, not the data" if _is_lfs_pointer(path) else str(error)
        raise UserError(
            f"{path}: not a readable {path.suffix[1:]} file: {hint}; fetch it again"
        ) from error


def _is_lfs_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(40).startswith(b"version https://git-lfs")
