"""A crash at every write: the same command ends with the files of an undisturbed run, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from p2r_bench.run.runner import run
from p2r_bench.run.spec import RunSpec
from p2r_bench.store.equal import differences
from p2r_bench.store.run_folder import RunFolder
from p2r_bench.store.schema import LEADERBOARD
from p2r_bench.store.tables import read_rows
from tests.faults.disk import CRASHES, Crash, Disk, Operation, Recorder
from tests.run.conftest import FakeEngine, FakeEngines, write_bench

QUESTIONS = 2
SAMPLES = 4 * QUESTIONS
QUICK = 6
"""Moments that are tried where the whole takes too long."""


def command(data: Path, out: Path, limit: int | None = None) -> set[str]:
    """Run the command; return the ids of the samples that it asked the engine about."""
    engine = FakeEngine()
    spec = RunSpec(
        "HR-Bench",
        "default",
        data_dir=data,
        out=out,
        profile="tiny",
        in_flight=2,
        limit=limit,
    )
    asyncio.run(run(spec, FakeEngines(engine)))
    return {request.sample_id for request in engine.calls}


class Recorded:
    """Writes of two consecutive commands: a limited run, then the whole.

    Attributes:
        operations: Of both, in order.
        out: The folder that they left.
    """

    def __init__(self, folder: Path) -> None:
        self.data = write_bench(folder / "data", QUESTIONS)
        self.out = folder / "out"
        self.out.mkdir()
        recorder = Recorder(self.out)
        real = RunFolder.record

        async def record(self: RunFolder, sample: Any, verdicts: Any) -> bool:
            added = await real(self, sample, verdicts)
            recorder.mark(sample["sample_id"])
            return added

        with pytest.MonkeyPatch.context() as patch, recorder.recording():
            patch.setattr(RunFolder, "record", record)
            command(self.data, self.out, limit=SAMPLES // 2)
            command(self.data, self.out)
        self.operations = recorder.operations

    def moments(self) -> list[int]:
        """Numbers of operations after which the machine may stop."""
        return [n for n, one in enumerate(self.operations, 1) if one.kind != "mark"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return Recorded(tmp_path_factory.mktemp("recorded"))


def run_folder(out: Path) -> Path:
    (folder,) = (path for path in (out / "runs").iterdir() if path.is_dir())
    return folder


def figures(out: Path) -> list[dict[str, Any]]:
    """The rows of the leaderboard, without what differs from run to run."""
    columns = [column.name for column in LEADERBOARD.columns if not column.volatile]
    return list(read_rows(out / "leaderboard.parquet", LEADERBOARD, columns))


def check(recorded: Recorded, out: Path, moment: int, crash: Crash) -> None:
    """Crash at a moment, give the command again, and compare."""
    done = recorded.operations[:moment]
    disk = Disk()
    for operation in done:
        disk.apply(operation)
    out.mkdir()
    disk.write_to(out, crash, seed=moment)
    asked = command(recorded.data, out)
    where = f"{crash} after operation {moment}, {recorded.operations[moment - 1].kind} {recorded.operations[moment - 1].path}"
    assert differences(run_folder(out), run_folder(recorded.out)) == [], where
    assert not asked & {one.value for one in done if one.kind == "mark"}, where
    for left, right in zip(figures(out), figures(recorded.out), strict=True):
        assert left == right, where
    assert not list(out.rglob(".*.tmp")), where


def tried(recorded: Recorded, crash: Crash, most: int | None) -> Iterator[int]:
    moments = recorded.moments()
    if most is None or most >= len(moments):
        return iter(moments)
    return iter(sorted(random.Random(crash).sample(moments, most)))


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_at_some_writes(recorded: Recorded, tmp_path: Path, crash: Crash) -> None:
    for moment in tried(recorded, crash, QUICK):
        check(recorded, tmp_path / str(moment), moment, crash)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_at_every_write(recorded: Recorded, tmp_path: Path, crash: Crash) -> None:
    for moment in tried(recorded, crash, None):
        check(recorded, tmp_path / str(moment), moment, crash)
        shutil.rmtree(tmp_path / str(moment))


def test_the_recording_is_what_was_written(recorded: Recorded, tmp_path: Path) -> None:
    disk = Disk()
    for operation in recorded.operations:
        disk.apply(operation)
    disk.write_to(tmp_path / "copy", "killed")
    disk.write_to(tmp_path / "kept", "lost")
    for name in ("journal.jsonl", "manifest.json", "samples.parquet", "metrics.parquet"):
        written = (run_folder(recorded.out) / name).read_bytes()
        assert (run_folder(tmp_path / "copy") / name).read_bytes() == written
        assert (run_folder(tmp_path / "kept") / name).read_bytes() == written
    assert len(recorded.moments()) > 100


def test_a_write_that_is_not_synced_before_its_rename_is_found(tmp_path: Path) -> None:
    operations = [
        Operation("create", "a.tmp"),
        Operation("write", "a.tmp", (0, b"whole")),
        Operation("rename", "a.tmp", "a"),
        Operation("sync folder", "."),
    ]
    disk = Disk()
    for operation in operations:
        disk.apply(operation)
    disk.write_to(tmp_path, "lost")
    assert (tmp_path / "a").read_bytes() == b""
