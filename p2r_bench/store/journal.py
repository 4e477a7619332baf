"""Append-only record of a run: one JSON object a line, on disk before it counts."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from p2r_bench.atomic import sync_folder
from p2r_bench.errors import UserError

Span = tuple[int, int]
"""Offset and length in bytes of a record's line in the journal, line end included."""


@dataclass
class _Pending:
    lines: list[bytes]
    future: Future[list[Span]]


class Journal:
    """Append records with group commit: one thread writes all pending records and syncs once.

    A group closes `window` seconds after its first record (at most 50 ms), so that many samples share one sync. After a
    failed write no record is accepted any more.
    """

    GROUP_BYTES = 4 << 20

    def __init__(self, path: Path, *, window: float = 0.02) -> None:
        """Open for appending. An unfinished last line, left by a killed process, is cut off.

        Raises:
            UserError: The file cannot be opened for writing.
        """
        if not 0 <= window <= 0.05:
            raise ValueError(f"window is {window} seconds; a group closes after at most 0.05")
        self.path = path
        self._window = window
        try:
            fresh = not path.exists()
            self._file = path.open("ab", buffering=0)
            if fresh:
                sync_folder(path.parent)
            self._size = _size_of_whole_lines(path)
            if self._size != path.stat().st_size:
                self._file.truncate(self._size)
                os.fsync(self._file.fileno())
        except OSError as error:
            raise self._write_error(error) from error
        self._failure: UserError | None = None
        self._closed = False
        self._guard = threading.Lock()
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="p2r-bench journal", daemon=True)
        self._thread.start()

    async def append(self, records: Sequence[Mapping[str, Any]]) -> list[Span]:
        """`submit` for coroutines: return the spans once the records are on disk."""
        return await asyncio.wrap_future(self.submit(records))

    def submit(self, records: Sequence[Mapping[str, Any]]) -> Future[list[Span]]:
        """Queue records. The future returns their spans once they are on disk, and cannot be cancelled.

        NaN and infinity are stored as null: JSON has neither.

        Raises:
            UserError: An earlier write failed. A failure of this one is raised by the future.
            TypeError: A record is not JSON-able. Other records are not affected.
        """
        future: Future[list[Span]] = Future()
        future.set_running_or_notify_cancel()
        pending = _Pending([_line(record) for record in records], future)
        with self._guard:
            if self._closed:
                raise RuntimeError(f"{self.path} is closed")
            if self._failure is not None:
                raise self._failure
            self._queue.put(pending)
        return future

    def close(self) -> None:
        """Write pending records and close the file. Safe to call twice."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        last = False
        while not last:
            group, last = self._gather()
            try:
                if self._failure is not None:
                    raise self._failure
                spans = self._write(group)
            except (OSError, UserError) as error:
                failure = error if isinstance(error, UserError) else self._write_error(error)
                with self._guard:
                    self._failure = failure
                for pending in group:
                    pending.future.set_exception(failure)
            else:
                for pending, places in zip(group, spans, strict=True):
                    pending.future.set_result(places)

    def _gather(self) -> tuple[list[_Pending], bool]:
        """Return the next group, and True when the journal is being closed."""
        first = self._queue.get()
        if first is None:
            return [], True
        time.sleep(self._window)  # cheaper than waking up for every record
        group, size = [first], sum(map(len, first.lines))
        while size < self.GROUP_BYTES:
            try:
                more = self._queue.get_nowait()
            except queue.Empty:
                break
            if more is None:
                return group, True
            group.append(more)
            size += sum(map(len, more.lines))
        return group, False

    def _write(self, group: list[_Pending]) -> list[list[Span]]:
        spans: list[list[Span]] = []
        at = self._size
        for pending in group:
            places = []
            for line in pending.lines:
                places.append((at, len(line)))
                at += len(line)
            spans.append(places)
        if at == self._size:
            return spans
        data = memoryview(b"".join(line for pending in group for line in pending.lines))
        try:
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError:
            with suppress(OSError):  # otherwise the next opening cuts off the unfinished line
                self._file.truncate(self._size)
            raise
        self._size = at
        return spans

    def _write_error(self, error: OSError) -> UserError:
        return UserError(
            f"{self.path}: the journal cannot be written: {error.strerror or error}. Nothing recorded "
            "before is lost; free disk space or fix the permissions and run the same command again."
        )


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a lone surrogate, or a type such as numpy's float
        plain = json.loads(json.dumps(record), parse_constant=lambda _: None)
        return json.dumps(plain, separators=(",", ":")).encode("ascii") + b"\n"


def read_journal(path: Path) -> Iterator[tuple[Span, dict[str, Any]]]:
    """Yield records with their spans, in order, with one line in memory at a time.

    An unfinished last line (its writer was killed, or is still writing) is left out.

    Raises:
        UserError: A line is not a record; file and line are named.
    """
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            yield (offset, len(line)), parse_record(line, f"{path}, line {number}")
            offset += len(line)


def parse_record(line: bytes, where: str) -> dict[str, Any]:
    """Parse one line.

    Raises:
        UserError: The line is not a record; the message begins with `where`.
    """
    try:
        try:
            record = orjson.loads(line)
        except ValueError:
            record = json.loads(line)  # orjson refuses lone surrogates
        if isinstance(record, dict):
            return record
        reason = "not a JSON object"
    except ValueError as error:
        reason = str(error)
    raise UserError(
        f"{where}: damaged journal record ({reason}). Delete that line to run its sample again; "
        "all others are kept."
    )


def _size_of_whole_lines(path: Path) -> int:
    """Return the number of bytes up to and including the last line end."""
    block = 1 << 16
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - block)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0
