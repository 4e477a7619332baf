"""One column of a parquet file, value by value, in one forward pass where possible."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, count
from threading import Lock

import pyarrow as pa
import pyarrow.parquet as pq
from cachetools import FIFOCache

_CURSORS = 4
_NEAR_ROWS = 16
_BATCH_BYTES = 1 << 20
_BATCH_ROWS = 64
_owners = count()


class Window:
    """Recently read values, at most `limit` bytes; the oldest are dropped first. Thread-safe."""

    def __init__(self, limit: int = 256 << 20) -> None:
        self._held: FIFOCache[tuple[int, int], tuple[pa.Scalar, int]] = FIFOCache(
            limit, getsizeof=lambda held: held[1]
        )
        self._lock = Lock()

    def put(self, key: tuple[int, int], value: pa.Scalar, size: int) -> None:
        with self._lock:
            if key not in self._held and size <= self._held.maxsize:
                self._held[key] = (value, size)

    def get(self, key: tuple[int, int]) -> pa.Scalar | None:
        with self._lock:
            held = self._held.get(key)
        return held[0] if held else None

    def forget(self, owner: int) -> None:
        """Drop the values of the column with this number."""
        with self._lock:
            for key in [key for key in self._held if key[0] == owner]:
                del self._held[key]


@dataclass
class _Cursor:
    """A pass over the column; `row` is its next row."""

    row: int
    batches: Iterator[pa.RecordBatch]


class ParquetColumn:
    """Values of one column by row.

    Rows requested in order, or nearly so, cost one pass over the file: rows passed on the way stay in the window for a
    while. A few passes stay open, so that a second reader costs a second pass instead of a restart per row. Any other
    row is read from the start of its row group. Thread-safe. Memory: the window and, per open pass, one page of the
    file.
    """

    def __init__(self, file: pq.ParquetFile, column: str, window: Window) -> None:
        self._file = file
        self._column = column
        self._window = window
        self._owner = next(_owners)
        groups = range(file.metadata.num_row_groups)
        sizes = (file.metadata.row_group(i).num_rows for i in groups)
        self._starts = list(accumulate(sizes, initial=0))
        self._at_once = rows_at_once(file, groups, (column,), _BATCH_BYTES, _BATCH_ROWS)
        self._cursors: list[_Cursor] = []
        self._lock = Lock()

    def value(self, row: int) -> pa.Scalar:
        """Return the value of a row.

        Raises:
            IndexError: No such row.
        """
        if not 0 <= row < self._starts[-1]:
            raise IndexError(row)
        if (value := self._window.get((self._owner, row))) is not None:
            return value
        with self._lock:
            if (value := self._window.get((self._owner, row))) is not None:
                return value
            cursor = self._cursor(row)
            while cursor.row <= row:
                try:
                    batch = next(cursor.batches, None)
                except pa.ArrowNotImplementedError:
                    # Over 2 GiB in a batch: repeated values look small in the footer.
                    self._cursors.remove(cursor)
                    if self._at_once == 1:
                        raise
                    self._at_once = max(1, self._at_once // 8)
                    cursor = self._cursor(row)
                    continue
                except BaseException:
                    self._cursors.remove(cursor)
                    raise
                if batch is None:
                    self._cursors.remove(cursor)
                    raise OSError(f"the file ends before row {row}")
                values, start = batch.column(0), cursor.row
                cursor.row += len(values)
                size = batch.nbytes // len(values)
                for at in range(len(values)):
                    self._window.put((self._owner, start + at), values[at], size)
            return values[row - start]

    def close(self) -> None:
        """Drop the column's values and open passes."""
        self._window.forget(self._owner)

    def _cursor(self, row: int) -> _Cursor:
        """Return the nearest open pass before `row` in its row group, or a new one. The returned pass becomes the most
        recently used.

        A pass does not skip far ahead while another may be opened. Rows requested alternately from a few parts of the
        file, such as the four rotations of a question, then cost one pass per part.
        """
        group = bisect_right(self._starts, row) - 1
        near = [c for c in self._cursors if self._starts[group] <= c.row <= row]
        cursor = max(near, key=lambda c: c.row, default=None)
        if cursor is not None and (
            row - cursor.row <= _NEAR_ROWS or len(self._cursors) == _CURSORS
        ):
            self._cursors.remove(cursor)
        else:
            groups = range(group, len(self._starts) - 1)
            batches = self._file.iter_batches(
                self._at_once,
                row_groups=list(groups),
                columns=[self._column],
                use_threads=False,
            )
            cursor = _Cursor(self._starts[group], batches)
            del self._cursors[: max(0, len(self._cursors) - _CURSORS + 1)]
        self._cursors.append(cursor)
        return cursor


def rows_at_once(
    file: pq.ParquetFile, groups: Iterable[int], columns: Collection[str], limit: int, most: int
) -> int:
    """Return the rows of a batch with about `limit` bytes of the columns in any of the row groups, 1 to `most`.

    Arrow cannot read more than 2 GiB of a nested column into one batch; small rows are faster in large batches.
    """
    fewest = most
    for rows in map(file.metadata.row_group, groups):
        chunks = (rows.column(i) for i in range(rows.num_columns))
        size = sum(
            chunk.total_uncompressed_size
            for chunk in chunks
            if chunk.path_in_schema.partition(".")[0] in columns
        )
        if rows.num_rows:
            fewest = min(fewest, limit * rows.num_rows // max(size, 1))
    return max(1, fewest)
