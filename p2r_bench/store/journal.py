"""The append-only record of a run: one JSON object a line, durable before it counts."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from p2r_bench.errors import UserError
from p2r_bench.store.atomic import sync_folder

Span = tuple[int, int]
"""Offset and length in bytes of a record's line in the journal, line end included."""

# For what orjson refuses: lone surrogates, and integers of more than 64 bits.
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


Written = Callable[[list[Span]], None]


@dataclass
class _Waiting:
    lines: list[bytes]
    future: Future[list[Span]] | asyncio.Future[list[Span]]
    written: Written | None


class Journal:
    """Appends records with group commit: one thread writes what has gathered and syncs it once.

    A group closes `window` seconds after its first record (at most 50 ms), so that many samples share
    one sync and a lone one hardly waits. After a failed write nothing more is accepted.
    """

    GROUP_BYTES = 4 << 20

    def __init__(self, path: Path, *, window: float = 0.02) -> None:
        """Open for appending, cutting off a last line that a killed process left unfinished.

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
            self._size = _whole_size(path)
            if self._size != path.stat().st_size:
                self._file.truncate(self._size)
                os.fsync(self._file.fileno())
        except OSError as error:
            raise self._refusal(error) from error
        self._failure: UserError | None = None
        self._closed = False
        self._guard = threading.Lock()
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="p2r-bench journal", daemon=True)
        self._thread.start()

    async def append(
        self, records: Sequence[Mapping[str, Any]], written: Written | None = None
    ) -> list[Span]:
        """Add records; returns where they are, after they are on disk.

        A float that is no number, or infinite, is null: JSON has no word for it. Cancelling the caller
        does not take the records back.

        Args:
            written: Called on the journal's thread with the places, before anyone hears of them and
                whether or not the caller still waits.

        Raises:
            UserError: The disk refused; so does every later call.
            TypeError: A record is not JSON-able. Only this call fails.
        """
        future: asyncio.Future[list[Span]] = asyncio.get_running_loop().create_future()
        self._put(_Waiting(_lines(records), future, written))
        return await future

    def submit(
        self, records: Sequence[Mapping[str, Any]], written: Written | None = None
    ) -> Future[list[Span]]:
        """`append` without an event loop: the future is resolved when the records are on disk."""
        future: Future[list[Span]] = Future()
        future.set_running_or_notify_cancel()  # what is on its way to the disk cannot be cancelled
        self._put(_Waiting(_lines(records), future, written))
        return future

    def _put(self, waiting: _Waiting) -> None:
        with self._guard:
            if self._closed:
                raise RuntimeError(f"{self.path} is closed")
            if self._failure is not None:
                raise self._failure
            self._queue.put(waiting)

    def close(self) -> None:
        """Write what is waiting, then release the file. Safe to call twice."""
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
            if not group:
                continue
            try:
                if self._failure is not None:
                    raise self._failure
                spans = self._write(group)
            except (OSError, UserError) as error:
                failure = error if isinstance(error, UserError) else self._refusal(error)
                with self._guard:
                    self._failure = failure
                _resolve(group, failure)
            else:
                _resolve(group, [_told(w, places) for w, places in zip(group, spans, strict=True)])

    def _gather(self) -> tuple[list[_Waiting], bool]:
        """The next group, and whether the journal is being closed."""
        first = self._queue.get()
        if first is None:
            return [], True
        time.sleep(self._window)  # waking up for every record would take turns with who makes them
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

    def _write(self, group: list[_Waiting]) -> list[list[Span]]:
        spans: list[list[Span]] = []
        at = self._size
        for waiting in group:
            found = []
            for line in waiting.lines:
                found.append((at, len(line)))
                at += len(line)
            spans.append(found)
        data = memoryview(b"".join(line for waiting in group for line in waiting.lines))
        try:
            while data:
                data = data[self._file.write(data) :]
            os.fsync(self._file.fileno())
        except OSError:
            with suppress(OSError):  # the next opening cuts off what this leaves behind
                self._file.truncate(self._size)
            raise
        self._size = at
        return spans

    def _refusal(self, error: OSError) -> UserError:
        return UserError(
            f"{self.path}: the journal cannot be written: {error.strerror or error}. Nothing recorded "
            "before is lost; make room or fix the permissions and run the same command again."
        )


def _lines(records: Sequence[Mapping[str, Any]]) -> list[bytes]:
    return [_line(record) for record in records]


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        told = json.loads(_encode(record), parse_constant=lambda _: None)
        return _encode(told).encode("ascii") + b"\n"


def _told(waiting: _Waiting, places: list[Span]) -> list[Span] | Exception:
    """The places, after `written` has heard of them; its own error goes to its caller alone."""
    if waiting.written is not None:
        try:
            waiting.written(places)
        except Exception as error:  # noqa: BLE001 - the thread must live on for the others
            return error
    return places


def _resolve(group: list[_Waiting], outcome: Sequence[list[Span] | Exception] | UserError) -> None:
    """Tell everyone in the group; an event loop is woken once, not once for each of its callers."""
    outcomes = [outcome] * len(group) if isinstance(outcome, UserError) else outcome
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[list[Span]], Any]]] = {}
    for waiting, result in zip(group, outcomes, strict=True):
        if isinstance(waiting.future, asyncio.Future):
            by_loop.setdefault(waiting.future.get_loop(), []).append((waiting.future, result))
        else:
            _settle(waiting.future, result)
    for loop, settled in by_loop.items():
        with suppress(RuntimeError):  # a loop that was closed has nobody waiting
            loop.call_soon_threadsafe(_settle_all, settled)


def _settle_all(settled: list[tuple[asyncio.Future[list[Span]], Any]]) -> None:
    for future, result in settled:
        if not future.done():
            _settle(future, result)


def _settle(
    future: Future[list[Span]] | asyncio.Future[list[Span]], result: list[Span] | Exception
) -> None:
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def read_journal(path: Path) -> Iterator[tuple[Span, dict[str, Any]]]:
    """Records with their places, in order, one line in memory at a time.

    An unfinished last line (its writer was killed, or is still at it) is passed over.

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
    """The record of one line.

    Raises:
        UserError: It is not one; `where` is named.
    """
    try:
        record = json.loads(line)
        if isinstance(record, dict):
            return record
        reason = "not a JSON object"
    except ValueError as error:
        reason = str(error)
    raise UserError(
        f"{where}: damaged journal record ({reason}). Delete that line to run its sample again; "
        "all others are kept."
    )


def _whole_size(path: Path) -> int:
    """Bytes up to and with the last line end."""
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
