"""Two copies of the model on one machine, and what happens when one dies."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from p2r_bench.engines.vllm import VLLMEngine
from p2r_bench.errors import EngineError
from p2r_bench.types import Completion, EngineConfig
from tests.engines.requests_made import make_request
from tests.vllm.conftest import ARGS, Loop
from tests.vllm.reading import with_transformers

if TYPE_CHECKING:
    import psutil

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]


def engine_processes() -> set[psutil.Process]:
    import psutil  # comes with vLLM; this file is collected where there is none

    children = psutil.Process(os.getpid()).children(recursive=True)
    return {child for child in children if "EngineCore" in " ".join(child.cmdline())}


@pytest.fixture(scope="module")
def copies(loop: Loop) -> Iterator[tuple[VLLMEngine, set[psutil.Process]]]:
    """A started engine of two copies, and their processes."""
    before = engine_processes()
    engine = VLLMEngine(EngineConfig("p2r-tiny", args={**ARGS, "data_parallel": "2"}))
    try:
        loop.run(engine.start())
        yield engine, engine_processes() - before
    finally:
        loop.run(engine.close())


def test_two_copies_share_the_work_by_image_and_give_the_same_answers(
    loop: Loop, copies: tuple[VLLMEngine, set[psutil.Process]]
) -> None:
    engine, processes = copies
    assert len(processes) == 2
    pairs = [make_request(number, sizes=((96, 64),), max_tokens=8) for number in range(12)]

    async def together() -> list[Completion]:
        return list(await asyncio.gather(*(engine.generate(*pair) for pair in pairs)))

    expected = [completion.text for completion in with_transformers("p2r-tiny", pairs)]
    for _ in range(2):
        assert [completion.text for completion in loop.run(together())] == expected
    assert engine._shared is not None
    assert {engine._shared.rank(pair[0].recipes[0].source) for pair in pairs} == {0, 1}


def test_when_a_process_dies_requests_end_with_an_error(
    loop: Loop, copies: tuple[VLLMEngine, set[psutil.Process]]
) -> None:
    engine, processes = copies

    async def session() -> list[EngineError]:
        pairs = [make_request(number, sizes=(), max_tokens=3000) for number in range(4)]
        asking = [asyncio.ensure_future(engine.generate(*pair)) for pair in pairs]
        await asyncio.sleep(0.1)
        processes.pop().kill()
        await asyncio.wait(asking, timeout=120)
        caught = []
        for task in [*asking, asyncio.ensure_future(engine.generate(*make_request(9)))]:
            try:
                await task
            except EngineError as error:
                caught.append(error)
        return caught

    *broken_off, later = loop.run(session())
    assert {error.kind for error in broken_off} <= {"dead", "aborted"}
    assert later.kind == "dead"
