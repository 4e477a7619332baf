"""One vLLM for all tests: starting one takes most of a minute, and engines of one event loop share it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from p2r_bench.bundled import resolve_model
from p2r_bench.types import EngineConfig
from tests.vllm.adapters import Adapted, make_adapter

T = TypeVar("T")

ARGS = {
    "enforce_eager": "yes",
    "kv_cache_gb": "0.25",
    "image_cache_gb": "0.1",
    "max_num_seqs": "16",
    "max_pixels": "131072",
}
"""Arguments of every engine here: equal ones share a vLLM."""


class Loop:
    """An event loop in a thread of its own, for the whole session."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm-tests")
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The outcome of a coroutine that runs in the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.stop()


@pytest.fixture(scope="session")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Adapted, Adapted]:
    """Two LoRA adapters of p2r-tiny, of different ranks."""
    base, folder = Path(resolve_model("p2r-tiny")), tmp_path_factory.mktemp("adapters")
    return make_adapter(base, folder / "a", rank=4, seed=1), make_adapter(
        base, folder / "b", rank=12, seed=2
    )


@pytest.fixture(scope="session")
def engines(loop: Loop, adapted: tuple[Adapted, Adapted]) -> Iterator[dict[str, Any]]:
    """Started engines on one vLLM: "base", and "a" and "b" with an adapter each."""
    from p2r_bench.engines.vllm import VLLMEngine

    extra = {"base": {}, "a": {"lora": adapted[0].adapter}, "b": {"lora": adapted[1].adapter}}
    made = {
        name: VLLMEngine(EngineConfig("p2r-tiny", args={**ARGS, **more}))
        for name, more in extra.items()
    }

    async def start() -> None:
        for engine in made.values():
            await engine.start()

    async def close() -> None:
        for engine in made.values():
            await engine.close()

    try:
        loop.run(start())
        yield made
    finally:
        loop.run(close())
