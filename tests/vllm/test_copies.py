"""Two copies of the model on one machine."""

from __future__ import annotations

import asyncio

import pytest

from p2r_bench.engines.vllm import VLLMEngine
from p2r_bench.types import Completion, EngineConfig
from tests.engines.requests_made import make_request
from tests.vllm.conftest import ARGS, Loop
from tests.vllm.reading import with_transformers

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]


def test_two_copies_share_the_work_by_image_and_give_the_same_answers(loop: Loop) -> None:
    pairs = [make_request(number, sizes=((96, 64),), max_tokens=8) for number in range(12)]
    engine = VLLMEngine(EngineConfig("p2r-tiny", args={**ARGS, "data_parallel": "2"}))

    async def session() -> list[Completion]:
        try:
            await engine.start()
            return [
                *await asyncio.gather(*(engine.generate(*pair) for pair in pairs)),
                *await asyncio.gather(*(engine.generate(*pair) for pair in pairs)),
            ]
        finally:
            ranks.update(engine._shared.ranks._seen)
            await engine.close()

    ranks: dict[str, int] = {}
    answers = [completion.text for completion in loop.run(session())]
    expected = [completion.text for completion in with_transformers("p2r-tiny", pairs)]
    assert answers == expected * 2
    assert set(ranks.values()) == {0, 1}
