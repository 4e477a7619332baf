"""The barrier schedule of the benchmarks: the same answers, one stage of a batch after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks import barrier
from benchmarks.barrier import BarrierLaunchers
from p2r_bench.adapter import decode
from p2r_bench.run.images import rendering as images
from p2r_bench.run.result import RunResult
from p2r_bench.run.runner import run
from p2r_bench.run.schedule.launchers import Launchers
from p2r_bench.run.spec import RunSpec
from p2r_bench.store.equal import differences
from p2r_bench.types import Completion, Request
from tests.run.conftest import FakeEngine, FakeEngines, write_bench


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    return write_bench(tmp_path / "bench")


class Watched(FakeEngine):
    """Notes when calls begin and end."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, str, str]] = []

    async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
        self.events.append(("begin", request.role, request.sample_id))
        await asyncio.sleep(0.001 * (len(self.events) % 7))
        completion = await super().generate(request, images)
        self.events.append(("end", request.role, request.sample_id))
        return completion


def do(
    bench: Path, out: str, engine: FakeEngine, launchers: type[Launchers], **changes: Any
) -> RunResult:
    spec = RunSpec("HR-Bench", data_dir=bench, out=bench.parent / out, profile="tiny", **changes)
    engines = FakeEngines(engine)
    return asyncio.run(run(spec, engines, launchers=launchers(engines)))


@pytest.mark.parametrize("mode", ["default", "thinking", "p2r", "oracle"])
def test_both_schedules_give_the_same_run(bench: Path, mode: str) -> None:
    pipelined = do(bench, "pipelined", FakeEngine(), Launchers, mode=mode)
    barred = do(bench, "barrier", FakeEngine(), BarrierLaunchers, mode=mode)
    assert pipelined.run_id == barred.run_id and barred.complete
    assert differences(pipelined.path, barred.path) == []


def test_with_the_barrier_a_stage_begins_when_the_batch_has_finished_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(barrier, "BATCH", 8)
    engine = Watched()
    do(write_bench(tmp_path / "data", questions=5), "out", engine, BarrierLaunchers)
    stages: list[tuple[str, str]] = []
    for kind, role, _ in engine.events:
        if not stages or stages[-1] != (kind, role):
            stages.append((kind, role))
    batch = [("begin", "perceive"), ("end", "perceive"), ("begin", "reason"), ("end", "reason")]
    assert stages == batch * 3  # 8, 8 and 4 rows


def test_with_the_barrier_every_row_decodes_and_resizes_for_itself(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"decode": 0, "render": 0}
    for name in counts:
        real = getattr(images, name)

        def counting(*args: Any, name: str = name, real: Any = real, **policy: Any) -> Any:
            counts[name] += 1
            return real(*args, **policy)

        monkeypatch.setattr(images, name, counting)
    do(bench, "out", FakeEngine(), BarrierLaunchers)
    assert counts == {"decode": 12, "render": 12 * 3}


def test_with_the_barrier_a_row_beyond_the_memory_decodes_again(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decodes: list[bytes] = []

    def counting(data: bytes, **policy: Any) -> Image.Image:
        decodes.append(data)
        return decode(data, **policy)

    monkeypatch.setattr(images, "decode", counting)
    result = do(bench, "out", FakeEngine(), BarrierLaunchers, image_memory=5 * 96 * 64 * 4)
    assert result.complete and len(decodes) > 12


def test_with_the_barrier_a_failed_request_holds_nobody_up(bench: Path) -> None:
    engine = FakeEngine(fail=lambda r: r.sample_id == "4K/2" and r.role == "perceive")
    result = do(bench, "out", engine, BarrierLaunchers)
    (row,) = result.overall
    assert (row["n"], row["n_errors"]) == (11, 1)
