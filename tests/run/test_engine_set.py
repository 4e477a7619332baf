"""Engines live as long as a later run needs them, and no longer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from p2r_bench.run import engines as engines_module
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.spec import EngineChoice
from p2r_bench.types import EngineConfig


class Counted:
    """Knows whether it runs."""

    running: tuple[str, ...] = ()

    def __init__(self, config: EngineConfig) -> None:
        self.model = config.model

    async def start(self) -> None:
        Counted.running = (*Counted.running, self.model)

    async def close(self) -> None:
        Counted.running = tuple(model for model in Counted.running if model != self.model)


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Registry:
        def get(self, kind: str, name: str) -> Any:
            return Counted

    Counted.running = ()
    monkeypatch.setattr(engines_module, "registry", Registry)


def test_an_engine_is_closed_when_no_later_run_needs_it() -> None:
    async def main() -> None:
        engines, small, large = EngineSet(), EngineChoice("small"), EngineChoice("large")
        await engines.start([engines.get(small), engines.get(large)])
        await engines.close(keep=[large])
        assert Counted.running == ("large",)
        await engines.start([engines.get(small), engines.get(large)])
        assert sorted(Counted.running) == ["large", "small"]
        await engines.close()
        assert Counted.running == ()

    asyncio.run(main())


def test_equal_choices_share_one_engine() -> None:
    engines = EngineSet()
    assert engines.get(EngineChoice("m")) is engines.get(EngineChoice("m"))
    assert engines.get(EngineChoice("m")) is not engines.get(EngineChoice("m", args={"a": "1"}))
