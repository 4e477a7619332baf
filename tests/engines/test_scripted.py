"""The scripted engine, which tests of everything else rest on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from p2r_bench.adapter import parse_boxes
from p2r_bench.engines.scripted import ScriptedEngine
from p2r_bench.errors import EngineError, UserError
from p2r_bench.types import EngineConfig, Request
from tests.engines.requests_made import make_request


def run(engine: ScriptedEngine, *pairs: tuple) -> tuple[list[Any], float]:
    async def session() -> tuple[list[Any], float]:
        await engine.start()
        begun = asyncio.get_running_loop().time()
        work = (engine.generate(*pair) for pair in pairs)
        done = await asyncio.gather(*work, return_exceptions=True)
        return done, asyncio.get_running_loop().time() - begun

    return asyncio.run(session())


def test_it_answers_by_the_script_it_is_given() -> None:
    (completion,), _ = run(
        ScriptedEngine(EngineConfig("m"), lambda request: request.role), make_request(1)
    )
    assert completion.text == "answer"


def test_a_script_can_be_named() -> None:
    args = {"script": "tests.engines.requests_made:about"}
    (completion,), _ = run(ScriptedEngine(EngineConfig("m", args=args)), make_request(4))
    assert "sample-4" in completion.text


@pytest.mark.parametrize("script", ["nothing", "tests.engines:missing", "no.such.module:f"])
def test_a_script_that_does_not_exist_is_refused(script: str) -> None:
    with pytest.raises(UserError, match="MODULE:FUNCTION"):
        ScriptedEngine(EngineConfig("m", args={"script": script}))


def test_its_own_script_perceives_a_box_and_answers_in_tags() -> None:
    pairs = [make_request(1, role=role, max_tokens=99) for role in ("perceive", "reason", "answer")]
    (perceived, reasoned, answered), _ = run(ScriptedEngine(EngineConfig("m")), *pairs)
    assert len(parse_boxes(perceived.text)) == 1
    assert reasoned.text.endswith("</answer>")
    assert answered.text in "ABCD"


def test_a_share_of_requests_fails_always_the_same() -> None:
    pairs = [make_request(n) for n in range(200)]
    outcomes = []
    for _ in range(2):
        done, _ = run(ScriptedEngine(EngineConfig("m", args={"failing": "0.3"})), *pairs)
        outcomes.append([isinstance(outcome, EngineError) for outcome in done])
    assert outcomes[0] == outcomes[1]
    assert 30 < sum(outcomes[0]) < 90


def test_latency_takes_places() -> None:
    def slow(request: Request, answer: str) -> float:
        return 0.05

    pairs = [make_request(n) for n in range(6)]
    engine = ScriptedEngine(EngineConfig("m", args={"places": "2"}), latency=slow)
    done, seconds = run(engine, *pairs)
    assert len({c.text for c in done}) > 1
    assert seconds >= 3 * 0.05 * 0.99


def test_requests_are_kept_for_the_test_to_read() -> None:
    engine = ScriptedEngine(EngineConfig("m"))
    request, images = make_request(2)
    run(engine, (request, images))
    assert engine.requests == [request]
