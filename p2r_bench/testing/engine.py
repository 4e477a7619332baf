"""Contract of engines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from PIL import Image

from p2r_bench.adapter import TwoStage, decode, load_profile, render
from p2r_bench.errors import EngineError, UserError
from p2r_bench.tasks.reading import read_image
from p2r_bench.testing.naming import named
from p2r_bench.testing.samples import tiny_sample
from p2r_bench.types import (
    Capabilities,
    Completion,
    Engine,
    EngineConfig,
    Message,
    Request,
    Sampling,
)

T = TypeVar("T")


class EngineContract:
    """Contract of engines. Subclass it, and name the engine and a model; pytest then runs the checks.

        class TestSGLang(EngineContract):
            engine = "sglang"
            model = "tiny"
            args = {"url": "http://localhost:30000"}

    Attributes:
        engine: The registered name, or the class.
        plugin: The module with the plugin's hooks; without it the plugin has to be installed.
        model: Model to run, small enough for a test.
        args: Engine arguments, as text.
        profile: Name of a profile that fits the model.
        max_tokens: Token cap of the requests.
    """

    engine: Any
    plugin: Any = None
    model: str = "test-model"
    args: Mapping[str, str] = {}
    profile: str = "tiny"
    max_tokens: int = 8

    def make(self, **args: str) -> Engine:
        """Return a fresh instance, not started, with further arguments."""
        config = EngineConfig(self.model, args={**self.args, **args})
        engine: Engine = named("engine", self.engine, self.plugin)(config)
        return engine

    def request(self, **sampling: Any) -> tuple[Request, list[Image.Image]]:
        """Return a request of role "think" with one image, and the image."""
        request = TwoStage(load_profile(self.profile)).single_request(
            tiny_sample(), "think", **{"max_tokens": self.max_tokens, "seed": 1, **sampling}
        )
        source = decode(read_image(tiny_sample().image))
        return request, [render(recipe, source) for recipe in request.recipes]

    def started(self, work: Callable[[Engine], Awaitable[T]]) -> T:
        """Return the result of `work` on a started engine, which is closed afterwards."""

        async def run() -> T:
            engine = self.make()
            try:
                await engine.start()
                return await work(engine)
            finally:
                await engine.close()

        return self.in_loop(run())

    def in_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a test's coroutine; an engine that takes long to start may keep one event loop for all tests."""
        return asyncio.run(work)

    def test_it_is_an_engine(self) -> None:
        assert isinstance(self.make(), Engine), (
            "an engine has identify, start, capabilities, generate and close"
        )

    def test_it_identifies_the_weights_without_starting(self) -> None:
        digests = {self.in_loop(self.make().identify()) for _ in range(2)}
        assert len(digests) == 1 and all(isinstance(d, str) and d for d in digests)

    def test_unknown_argument_is_refused(self) -> None:
        async def start() -> None:
            await self.make(no_such_argument="1").start()

        with pytest.raises(UserError, match="no_such_argument"):
            self.in_loop(start())

    def test_capabilities_are_known_after_start(self) -> None:
        async def capabilities(engine: Engine) -> Capabilities:
            return engine.capabilities()

        can = self.started(capabilities)
        assert can.concurrency >= 1
        assert can.sampling <= set(Sampling.__dataclass_fields__)
        assert can.facts, "`facts` are recorded in the manifest: name and versions at least"
        json.dumps(dict(can.facts))

    def test_it_answers_a_request_with_an_image(self) -> None:
        request, images = self.request()
        completion = self.started(lambda engine: engine.generate(request, images))
        assert isinstance(completion, Completion) and isinstance(completion.text, str)
        assert completion.finish_reason
        for count in (completion.prompt_tokens, completion.output_tokens, completion.cached_tokens):
            assert count is None or (isinstance(count, int) and count >= 0)
        json.dumps(dict(completion.engine))

    def test_it_goes_on_with_a_conversation(self) -> None:
        request, images = self.request()
        turns = (
            *request.messages,
            Message("assistant", ("Show it to me from near by.",)),
            Message("user", ("Here it is:\n", request.recipes[0], "\nAnswer now.")),
        )
        longer = replace(request, messages=turns)
        completion = self.started(lambda engine: engine.generate(longer, images * 2))
        assert isinstance(completion.text, str)

    def test_at_temperature_0_the_same_request_gives_the_same_text(self) -> None:
        request, images = self.request()

        async def twice(engine: Engine) -> list[str]:
            return [(await engine.generate(request, images)).text for _ in range(2)]

        assert len(set(self.started(twice))) == 1

    def test_the_token_cap_is_kept(self) -> None:
        request, images = self.request(max_tokens=1)
        tokens = self.started(lambda engine: engine.generate(request, images)).output_tokens
        assert tokens is None or tokens <= 1

    def test_requests_at_once_are_all_answered(self) -> None:
        request, images = self.request()
        requests = [replace(request, sample_id=f"tiny/{i}") for i in range(4)]

        async def together(engine: Engine) -> Sequence[Completion]:
            return await asyncio.gather(*(engine.generate(r, images) for r in requests))

        assert len(self.started(together)) == len(requests)

    def test_a_cancelled_request_leaves_the_engine_working(self) -> None:
        request, images = self.request()

        async def cancel(engine: Engine) -> Completion:
            asking = asyncio.ensure_future(engine.generate(request, images))
            await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking], timeout=60)
            assert asking.done(), "cancelling the task must end the request"
            return await engine.generate(request, images)

        assert isinstance(self.started(cancel), Completion)

    def test_images_that_do_not_fit_the_request_are_refused(self) -> None:
        request, _ = self.request()

        async def without_images(engine: Engine) -> Completion:
            return await engine.generate(request, [])

        with pytest.raises(EngineError):
            self.started(without_images)

    def test_closing_twice_and_closing_unstarted_are_safe(self) -> None:
        async def close() -> None:
            engine = self.make()
            await engine.close()
            await engine.start()
            await engine.close()
            await engine.close()

        self.in_loop(close())
