"""Promises of every engine."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from p2r_bench.engines.openai import OpenAIEngine
from p2r_bench.engines.scripted import ScriptedEngine
from p2r_bench.engines.transformers import TransformersEngine
from p2r_bench.errors import EngineError, UserError
from p2r_bench.types import Engine, EngineConfig, Sampling
from tests.engines.local_server import LocalServer
from tests.engines.requests_made import make_request

Make = Callable[..., Engine]


@pytest.fixture(scope="module")
def model_server(tiny_folder: Path) -> Iterator[LocalServer]:
    with LocalServer(TransformersEngine(EngineConfig(str(tiny_folder))), "random") as server:
        yield server


@pytest.fixture(params=["scripted", "transformers", "openai"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes an engine; keyword arguments are engine arguments."""

    def engine(**args: str) -> Engine:
        if request.param == "scripted":
            args = {"script": "tests.engines.requests_made:about", **args}
            return ScriptedEngine(EngineConfig("any", args=args))
        if request.param == "transformers":
            folder = request.getfixturevalue("tiny_folder")
            return TransformersEngine(EngineConfig(str(folder), args=args))
        server = request.getfixturevalue("model_server")
        args = {"base_url": server.url, "max_pixels": "65536", **args}
        return OpenAIEngine(EngineConfig("random", args=args))

    return engine


def run(engine: Engine, *pairs: tuple, one_by_one: bool = False) -> list:
    """Answers to requests that are all sent at once; exceptions are among them."""

    async def session() -> list:
        await engine.start()
        limit = asyncio.Semaphore(1 if one_by_one else len(pairs))

        async def answer(pair: tuple) -> object:
            async with limit:
                return await engine.generate(*pair)

        try:
            return await asyncio.gather(*map(answer, pairs), return_exceptions=True)
        finally:
            await engine.close()

    return asyncio.run(session())


def test_it_has_the_methods_of_an_engine(make: Make) -> None:
    assert isinstance(make(), Engine)


def test_equal_requests_get_equal_answers(make: Make) -> None:
    first, second = run(make(), make_request(3), make_request(3))
    assert first.text == second.text
    assert first.finish_reason == second.finish_reason


def test_an_answer_does_not_depend_on_what_runs_beside(make: Make) -> None:
    pairs = [make_request(seed) for seed in range(8)]
    together = run(make(), *pairs)
    alone = run(make(), *pairs, one_by_one=True)
    assert [c.text for c in together] == [c.text for c in alone]


def test_an_answer_stops_at_its_token_cap(make: Make) -> None:
    pairs = [make_request(seed, max_tokens=1 + seed) for seed in range(5)]
    for (request, _), completion in zip(pairs, run(make(), *pairs), strict=True):
        assert 1 <= completion.output_tokens <= request.sampling.max_tokens
        if completion.output_tokens < request.sampling.max_tokens:
            assert completion.finish_reason == "stop"


def test_text_ends_before_a_stop_string(make: Make) -> None:
    (whole,) = run(make(), make_request(5))
    stop = whole.text[len(whole.text) // 2]
    (cut,) = run(make(), make_request(5, stop=(stop,)))
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"


def test_tokens_are_counted(make: Make) -> None:
    request, images = make_request(1, sizes=((64, 32), (96, 96)))
    (completion,) = run(make(), (request, images))
    assert request.visual_tokens == 2 + 9
    assert completion.visual_tokens in (None, 2 + 9)  # a server does not count them
    assert completion.prompt_tokens > 2 + 9
    assert completion.timings["engine"] >= 0


def test_a_cancelled_request_leaves_the_others_alone(make: Make) -> None:
    engine = make()

    async def session() -> str:
        await engine.start()
        doomed = [asyncio.ensure_future(engine.generate(*make_request(s))) for s in (1, 2)]
        kept = asyncio.ensure_future(engine.generate(*make_request(3)))
        for task in doomed:
            await asyncio.sleep(0)
            task.cancel()
        text = (await kept).text
        await asyncio.wait(doomed)
        await engine.close()
        return text

    assert asyncio.run(session()) == run(make(), make_request(3))[0].text


@pytest.mark.parametrize("wrong", ["size", "mode", "missing"])
def test_an_image_that_is_not_what_its_recipe_says_is_an_error(make: Make, wrong: str) -> None:
    request, images = make_request(1, sizes=((64, 64),))
    bad = {
        "size": [Image.new("RGB", (64, 32))],
        "mode": [images[0].convert("L")],
        "missing": [],
    }[wrong]
    (error,) = run(make(), (request, bad))
    assert isinstance(error, EngineError)
    assert not error.retryable


def test_a_schema_that_is_not_enforced_is_an_error(make: Make) -> None:
    request, images = make_request(1)
    engine = make()
    (error,) = run(engine, (dataclasses.replace(request, schema={"type": "object"}), images))
    assert isinstance(error, EngineError)
    assert error.kind == "unsupported"


def test_capabilities_are_stated_after_start(make: Make) -> None:
    engine = make()

    async def session():
        await engine.start()
        try:
            return engine.capabilities()
        finally:
            await engine.close()

    can = asyncio.run(session())
    assert can.sampling == frozenset(Sampling.__dataclass_fields__)
    assert can.facts["engine"] in ("scripted", "transformers", "openai")
    assert can.concurrency >= 1


def test_it_is_identified_without_being_started(make: Make) -> None:
    first, second = asyncio.run(make().identify()), asyncio.run(make().identify())
    assert first == second != ""


def test_an_engine_that_does_not_run_answers_with_an_error(make: Make) -> None:
    engine = make()
    with pytest.raises(EngineError):
        asyncio.run(engine.generate(*make_request(1)))


def test_it_can_be_closed_twice_and_then_answers_with_an_error(make: Make) -> None:
    engine = make()

    async def session() -> None:
        await engine.start()
        await engine.close()
        await engine.close()
        await engine.generate(*make_request(1))

    with pytest.raises(EngineError):
        asyncio.run(session())


def test_unknown_arguments_are_refused_with_the_known_ones_listed(make: Make) -> None:
    with pytest.raises(UserError, match="no argument 'batchsize'") as caught:
        make(batchsize="3")
    assert "default" in str(caught.value)
