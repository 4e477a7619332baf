"""Writes, syncs and renames that fail at random: an error that names the file, and the same command completes the run."""

from __future__ import annotations

import errno
import io
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from p2r_bench.errors import UserError
from p2r_bench.store.equal import differences
from p2r_bench.store.journal_index import JournalIndex
from p2r_bench.store.manifest import Manifest
from tests.faults.test_crash import command, run_folder
from tests.run.conftest import write_bench
from tests.store.building import SESSION, open_folder

ERRORS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EMFILE)
QUICK, MANY = 12, 60


class Failing:
    """A disk on which each operation below a folder fails with a probability.

    Attributes:
        failures: So far.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.draw = random.Random(seed)
        self.probability = self.draw.choice((0.01, 0.03, 0.1, 0.5))
        self.kinds = self.draw.choice(
            (
                ["write"],
                ["write", "short"],
                ["sync"],
                ["rename"],
                ["open"],
                ["write", "short", "sync", "rename", "open"],
            )
        )
        self.failures = 0

    @contextmanager
    def disk(self) -> Iterator[None]:
        """Let operations fail for the length of the block."""
        with (
            mock.patch.object(io, "open", self._opened(io.open)),
            mock.patch.object(os, "fsync", self._failing("sync", os.fsync)),
            mock.patch.object(os, "replace", self._failing("rename", os.replace)),
        ):
            yield

    def happens(self, kind: str, path: Any) -> bool:
        """Return True if an operation on a path fails."""
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink()
        below = Path(os.fspath(path)).is_relative_to(self.root)
        found = below and kind in self.kinds and self.draw.random() < self.probability
        self.failures += found
        return found

    def error(self, path: Any) -> OSError:
        number = self.draw.choice(ERRORS)
        return OSError(number, os.strerror(number), os.fspath(path))

    def _failing(self, kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(path: Any, *rest: Any, **named: Any) -> Any:
            if self.happens(kind, path):
                raise self.error(str(path))
            return real(path, *rest, **named)

        return operation

    def _opened(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def open_(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
            writes = not isinstance(file, int) and set(mode) & set("wa+")
            if not writes or not Path(file).is_relative_to(self.root):
                return real(file, mode, buffering, *rest, **named)
            if self.happens("open", file):
                raise self.error(file)
            raw = _FailingFile(self, os.fspath(file), mode.replace("b", "").replace("t", ""))
            if buffering == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **named)

        return open_


class _FailingFile(io.FileIO):
    def __init__(self, failing: Failing, file: str, mode: str) -> None:
        super().__init__(file, mode)
        self._failing = failing

    def write(self, data: Any, /) -> int:
        if self._failing.happens("write", str(self.name)):
            raise self._failing.error(str(self.name))
        if self._failing.happens("short", str(self.name)):
            data = memoryview(data).cast("B")[: max(1, len(data) // 2)]
        written = super().write(data)
        assert written is not None
        return written


def attempt(seed: int, data: Path, out: Path, whole: Path) -> int:
    """Disturb a command, then give it again; return how many operations failed."""
    failing = Failing(out.resolve(), seed)
    try:
        with failing.disk():
            command(data, out)
    except UserError as error:
        assert str(out) in str(error), error
    except OSError as error:  # the command line makes a message of it
        assert error.filename, error
    recorded = {key for j in out.glob("runs/*/journal.jsonl") for key in JournalIndex.scan(j).done}
    asked = command(data, out)
    assert not asked & {key[0] for key in recorded}, seed
    assert differences(run_folder(out), run_folder(whole)) == [], seed
    return failing.failures


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("undisturbed")
    data = write_bench(folder / "data", 2)
    command(data, folder / "whole")
    return data, folder / "whole"


@pytest.mark.parametrize("seed", range(QUICK))
def test_a_disk_that_fails_now_and_then(
    undisturbed: tuple[Path, Path], tmp_path: Path, seed: int
) -> None:
    attempt(seed, undisturbed[0], tmp_path / "out", undisturbed[1])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_disks_that_fail(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    failures = 0
    for seed in range(QUICK, QUICK + MANY):
        failures += attempt(seed, undisturbed[0], tmp_path / "out", undisturbed[1])
        shutil.rmtree(tmp_path / "out")
    assert failures > MANY / 2


def test_a_run_is_free_again_when_its_end_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise UserError("disk full")

    folder = open_folder(tmp_path)
    folder.begin(SESSION)
    with monkeypatch.context() as patch, pytest.raises(UserError, match="disk full"):
        patch.setattr(Manifest, "end_session", full)
        folder.close()
    open_folder(tmp_path).close()
