"""A recording of everything that is written below a folder, and the folders that a crash may leave."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest import mock

Crash = Literal["killed", "torn", "lost", "names first", "some"]
"""Amounts of unsynced data that survive a crash.

killed: All of it: the process ended, and the machine went on.
torn: The same, with half of the last write.
lost: Nothing: the power failed, and no cache had been written back.
names first: New names and renames, but no content.
some: A part of both, drawn at random; each file keeps the beginning of its writes, each folder of its changes.
"""
CRASHES: tuple[Crash, ...] = ("killed", "torn", "lost", "names first", "some")


@dataclass(frozen=True)
class Operation:
    """One change, in the order in which the process made them.

    Attributes:
        kind: "create", "write", "truncate", "sync", "rename", "unlink", "mkdir", "sync folder" or "mark".
        path: Below the folder that is recorded.
        value: Offset and bytes, size, new path, or what was marked.
    """

    kind: str
    path: str
    value: Any = None


class Recorder:
    """Records what this process writes below a folder while `recording` lasts.

    Attributes:
        operations: So far.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.operations: list[Operation] = []

    def mark(self, value: Any) -> None:
        """Note that something has happened, such as the acknowledgement of a record."""
        self.operations.append(Operation("mark", "", value))

    @contextmanager
    def recording(self) -> Iterator[Recorder]:
        """Record for the length of the block. Only Python's own functions are watched."""
        with (
            mock.patch.object(io, "open", self._open(io.open)),
            mock.patch.object(os, "fsync", self._fsync(os.fsync)),
            mock.patch.object(os, "replace", self._rename(os.replace)),
            mock.patch.object(os, "rename", self._rename(os.rename)),
            mock.patch.object(os, "unlink", self._named("unlink", os.unlink)),
            mock.patch.object(os, "mkdir", self._named("mkdir", os.mkdir)),
        ):
            yield self

    def _below(self, path: Any) -> str | None:
        place = Path(os.path.abspath(os.fspath(path)))  # noqa: PTH100 - links are not followed
        within = place.is_relative_to(self.root) and not place.name.startswith(".lock")
        return str(place.relative_to(self.root)) if within and "lock" not in place.name else None

    def _open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def open_(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
            path = (
                None if isinstance(file, int) or not set(mode) & set("wax+") else self._below(file)
            )
            if path is None:
                return real(file, mode, buffering, *rest, **named)
            fresh = not Path(file).exists()
            raw = _RecordedFile(self, path, os.fspath(file), mode.replace("b", "").replace("t", ""))
            if fresh:
                self.operations.append(Operation("create", path))
            elif "w" in mode:
                self.operations.append(Operation("truncate", path, 0))
            if buffering == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **named)

        return open_

    def _fsync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def fsync(handle: int) -> None:
            real(handle)
            place = Path(f"/proc/self/fd/{handle}").readlink()
            path = self._below(place)
            if path is not None:
                kind = "sync folder" if place.is_dir() else "sync"
                self.operations.append(Operation(kind, path))

        return fsync

    def _rename(self, real: Callable[..., None]) -> Callable[..., None]:
        def rename(source: Any, target: Any, **named: Any) -> None:
            real(source, target, **named)
            before, after = self._below(source), self._below(target)
            if before is not None and after is not None:
                self.operations.append(Operation("rename", before, after))

        return rename

    def _named(self, kind: str, real: Callable[..., None]) -> Callable[..., None]:
        def change(path: Any, *rest: Any, **named: Any) -> None:
            real(path, *rest, **named)
            within = self._below(path) if named.get("dir_fd") is None else None
            if within is not None:
                self.operations.append(Operation(kind, within))

        return change


class _RecordedFile(io.FileIO):
    def __init__(self, recorder: Recorder, path: str, file: str, mode: str) -> None:
        super().__init__(file, mode)
        self._recorder, self._path = recorder, path
        self._appends = "a" in mode

    def write(self, data: Any, /) -> int:
        written = super().write(data)
        assert written is not None
        end = os.fstat(self.fileno()).st_size if self._appends else self.tell()
        content = bytes(memoryview(data).cast("B")[:written])
        self._recorder.operations.append(Operation("write", self._path, (end - written, content)))
        return written

    def truncate(self, size: int | None = None, /) -> int:
        result = super().truncate(size)
        self._recorder.operations.append(Operation("truncate", self._path, result))
        return result


@dataclass
class _File:
    content: bytearray = field(default_factory=bytearray)
    pending: list[Operation] = field(default_factory=list)
    synced: bytes = b""


class Disk:
    """A disk with a cache, after a number of operations."""

    def __init__(self) -> None:
        self._names: dict[str, _File | None] = {}  # None: a folder
        self._kept: dict[str, _File | None] = {}
        self._changes: list[tuple[str, _File | None, bool]] = []
        self._last: tuple[_File, int] | None = None

    def apply(self, operation: Operation) -> None:
        """Make one change."""
        path, value = operation.path, operation.value
        self._last = None
        if operation.kind in ("create", "mkdir"):
            self._set(path, _File() if operation.kind == "create" else None)
        elif operation.kind == "rename":
            file = self._names[path]
            self._remove(path)
            self._set(value, file)
        elif operation.kind == "unlink":
            self._remove(path)
        elif operation.kind == "sync folder":
            inside = [c for c in self._changes if str(Path(c[0]).parent) == path]
            for change in inside:
                self._keep(change)
                self._changes.remove(change)
        elif operation.kind != "mark":
            file = self._names[path]
            assert file is not None
            if operation.kind == "sync":
                file.synced, file.pending = bytes(file.content), []
            else:
                _change(file.content, operation)
                file.pending.append(operation)
                if operation.kind == "write":
                    self._last = (file, len(value[1]))

    def write_to(self, folder: Path, crash: Crash, seed: int = 0) -> None:
        """Write what a crash at this moment leaves."""
        draw = random.Random(f"{crash} {seed}")
        names = dict(self._names)
        if crash in ("lost", "some"):
            names = dict(self._kept)
            kept = self._changes[: draw.randint(0, len(self._changes))] if crash == "some" else []
            for name, file, there in kept:
                _put(names, name, file, there)
        for name in sorted(names):
            if not all(str(parent) in names for parent in list(Path(name).parents)[:-1]):
                continue  # in a folder that is gone
            place, file = folder / name, names[name]
            if file is None:
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(self._content(file, crash, draw))

    def _content(self, file: _File, crash: Crash, draw: random.Random) -> bytes:
        if crash in ("lost", "names first"):
            return file.synced
        if crash == "some":
            content = bytearray(file.synced)
            for operation in file.pending[: draw.randint(0, len(file.pending))]:
                _change(content, operation)
            return bytes(content)
        if crash == "torn" and self._last is not None and self._last[0] is file:
            return bytes(file.content[: len(file.content) - (self._last[1] + 1) // 2])
        return bytes(file.content)

    def _set(self, path: str, file: _File | None) -> None:
        self._names[path] = file
        self._changes.append((path, file, True))

    def _remove(self, path: str) -> None:
        self._changes.append((path, self._names.pop(path), False))

    def _keep(self, change: tuple[str, _File | None, bool]) -> None:
        _put(self._kept, *change)


def _put(names: dict[str, _File | None], path: str, file: _File | None, there: bool) -> None:
    if there:
        names[path] = file
    else:
        names.pop(path, None)


def _change(content: bytearray, operation: Operation) -> None:
    if operation.kind == "truncate":
        del content[operation.value :]
    else:
        offset, data = operation.value
        content[offset : offset + len(data)] = data
