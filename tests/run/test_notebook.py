"""`evaluate` where an event loop runs already, as in a notebook."""

from __future__ import annotations

import asyncio
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from p2r_bench import session as api
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.spec import RunSpec
from p2r_bench.session import run_all
from p2r_bench.types import Completion, Engine
from tests.run.conftest import FakeEngine, write_bench


class SlowEngine(FakeEngine):
    """Engine that answers four calls, then signals the test and hangs; counts calls of `close`."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = threading.Event()
        self.cancelled = self.closed = 0

    async def generate(self, request: Any, images: Any) -> Completion:
        if len(self.calls) < 4:
            return await super().generate(request, images)
        self.stuck.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SlowEngine:
    made = SlowEngine()

    class Engines(EngineSet):
        def get(self, choice: Any, family: str | None = None) -> Engine:
            self._engines[choice.key] = made
            return made

    monkeypatch.setattr(api, "EngineSet", Engines)
    return made


def interrupt_when(engine: SlowEngine) -> None:
    """Send this process the signal of Ctrl-C once the engine is stuck."""

    def work() -> None:
        if engine.stuck.wait(60):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=work, daemon=True).start()


def test_an_interrupt_in_a_running_loop_frees_thread_engine_and_lock(
    engine: SlowEngine, tmp_path: Path
) -> None:
    data = write_bench(tmp_path / "data", questions=4)
    spec = RunSpec(
        "HR-Bench", "default", data_dir=data, out=tmp_path / "out", profile="tiny", in_flight=2
    )

    async def cell() -> None:
        run_all([spec])

    # A loop that leaves signals alone, as a notebook's does.
    loop = asyncio.new_event_loop()
    interrupt_when(engine)
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(cell())
    loop.close()
    for thread in threading.enumerate():
        if thread.name == "p2r-bench":
            thread.join(10)
            assert not thread.is_alive()
    assert engine.cancelled == 2
    assert engine.closed == 1
    (run,) = (tmp_path / "out" / "runs").iterdir()
    assert not (run / ".lock.owner").exists()
    engine.stuck.clear()
    engine.calls.clear()
    engine.generate = FakeEngine().generate  # type: ignore[method-assign]
    (result,) = run_all([spec])
    assert result.complete
    assert result.added == 12
