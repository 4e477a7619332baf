"""A model whose forward fails for good ends the run; no request waits for ever."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from p2r_bench.engines.transformers import TransformersEngine
from p2r_bench.errors import EngineDead, EngineError, EngineStopped
from p2r_bench.run.runner import run
from p2r_bench.run.spec import RunSpec
from p2r_bench.types import EngineConfig
from tests.engines.requests_made import make_request
from tests.run.conftest import FakeEngine, FakeEngines, write_bench


@pytest.fixture(scope="module")
def engine_config(tiny_folder: Path) -> EngineConfig:
    return EngineConfig(str(tiny_folder), args={"device": "cpu", "batch_size": "2"})


def break_forward(engine: TransformersEngine) -> None:
    assert engine._loaded is not None

    def broken(*args: Any) -> Any:
        raise RuntimeError("CUDA error: device-side assert triggered")

    engine._loaded.model.register_forward_pre_hook(broken)


async def started(config: EngineConfig) -> TransformersEngine:
    engine = TransformersEngine(config)
    await engine.start()
    return engine


def test_a_model_that_keeps_failing_fails_pending_and_later_requests(
    engine_config: EngineConfig,
) -> None:
    async def work() -> tuple[list[Any], Any]:
        engine = await started(engine_config)
        try:
            break_forward(engine)
            calls = (engine.generate(*make_request(n)) for n in range(20))
            pending = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 60)
            later = await asyncio.gather(engine.generate(*make_request(99)), return_exceptions=True)
            return pending, later[0]
        finally:
            await asyncio.wait_for(engine.close(), 60)

    pending, later = asyncio.run(work())
    assert all(isinstance(error, EngineError) for error in pending)
    assert isinstance(pending[-1], EngineDead)
    assert isinstance(later, EngineDead)
    assert "3 times in a row" in str(later)
    assert "device-side assert" in str(later)


@pytest.mark.parametrize("where", ["_free_memory", "_take"])
def test_a_worker_that_fails_itself_leaves_nobody_waiting(
    engine_config: EngineConfig, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    async def work() -> list[Any]:
        engine = await started(engine_config)
        try:
            break_forward(engine)

            def fail() -> None:
                raise RuntimeError("CUDA error: unspecified launch failure")

            monkeypatch.setattr(engine._worker, where, fail)
            calls = (engine.generate(*make_request(n)) for n in range(4))
            return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 60)
        finally:
            await asyncio.wait_for(engine.close(), 60)

    for error in asyncio.run(work()):
        assert isinstance(error, EngineDead)
        assert "CUDA error" in str(error)


def test_closing_during_the_start_leaves_no_worker_behind(engine_config: EngineConfig) -> None:
    async def work() -> None:
        engine = TransformersEngine(engine_config)
        starting = asyncio.ensure_future(engine.start())
        await asyncio.sleep(0.01)
        starting.cancel()
        await asyncio.wait([starting])
        await engine.close()

    asyncio.run(work())
    assert not [t for t in threading.enumerate() if t.name == "p2r-bench-transformers"]


class MortalEngine(FakeEngine):
    """Answers eight calls, then is dead."""

    async def generate(self, request: Any, images: Any) -> Any:
        if len(self.calls) >= 8:
            raise EngineDead("the device is lost")
        return await super().generate(request, images)


def test_a_dead_engine_stops_the_run_and_loses_nothing(tmp_path: Path) -> None:
    data = write_bench(tmp_path / "data", questions=4)
    spec = RunSpec(
        "HR-Bench", "default", data_dir=data, out=tmp_path / "out", profile="tiny", in_flight=2
    )
    with pytest.raises(
        EngineStopped, match=r"the device is lost.* the same command resumes the run"
    ):
        asyncio.run(run(spec, FakeEngines(MortalEngine())))
    healthy = FakeEngine()
    result = asyncio.run(run(spec, FakeEngines(healthy)))
    assert result.complete
    assert result.added == len(healthy.calls) == 16 - 8
