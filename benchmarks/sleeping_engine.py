"""An engine that takes a GPU's time but sleeps on this machine.

`benchmarks.gpu` models the time and names the source of its rates. A request waits in a queue by priority, its prompt
is computed in chunks beside the tokens of others, and its answer grows by one token a step. The engine has its own
clock: a late client does not delay it. Replies come from `benchmarks.answers`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from benchmarks.answers import token_count
from benchmarks.gpu import Batcher, Gpu, Part, Running
from p2r_bench.errors import EngineError
from p2r_bench.types import Capabilities, Completion, Recipe, Request

if TYPE_CHECKING:
    from PIL import Image

IMAGE_MARKS = 2
"""Tokens around an image: vision start and end."""


class SleepingEngine:
    """Engine that answers by a rule, after the time of a GPU.

    Args:
        answers: The text for a request.
        prefix_caching: Reuse common prefixes of prompts; the published evaluation does not.
        speed: Factor over one GPU, to measure the time of other parts.
    """

    def __init__(
        self,
        answers: Callable[[Request], str],
        *,
        gpu: Gpu | None = None,
        prefix_caching: bool = True,
        speed: float = 1.0,
    ) -> None:
        self._answers = answers
        self._speed = speed
        self._batcher = Batcher(gpu or Gpu(), prefix_caching=prefix_caching)
        self._waiting: dict[Running, asyncio.Future[None]] = {}
        self._arrived = asyncio.Event()
        self._working: asyncio.Task[None] | None = None

    @property
    def busy_s(self) -> float:
        """Seconds in which the engine was busy."""
        return self._batcher.busy / self._speed

    async def identify(self) -> str:
        """Return a fixed identity: answers depend on the data alone."""
        return hashlib.sha256(b"sleeping engine").hexdigest()

    async def start(self) -> None:
        """See `Engine.start`."""
        if self._working is None:
            self._working = asyncio.create_task(self._work())

    def capabilities(self) -> Capabilities:
        """Return a concurrency of as many requests as a step holds."""
        return Capabilities(
            concurrency=self._batcher.gpu.sequences,
            facts={"engine": "sleeping", "prefix_caching": self._batcher.prefix_caching},
        )

    async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
        """See `Engine.generate`. The images are dropped at once, as by an engine in another process."""
        if self._working is None:
            raise EngineError("the engine is not running", kind="closed")
        del images
        text = self._answers(request)
        running = Running(
            parts=prompt_parts(request),
            output_tokens=token_count(text),
            priority=request.priority,
            arrived=self._now(),
        )
        self._batcher.add(running)
        self._waiting[running] = asyncio.get_running_loop().create_future()
        self._arrived.set()
        try:
            await self._waiting[running]
        finally:
            running.aborted = True
            del self._waiting[running]
        assert running.finished is not None
        return Completion(
            text,
            prompt_tokens=running.prompt_tokens,
            cached_tokens=running.cached,
            output_tokens=running.output_tokens,
            timings={
                "queue": (running.started - running.arrived) / self._speed,
                "engine": (running.finished - running.started) / self._speed,
            },
            engine={"engine": "sleeping"},
        )

    async def close(self) -> None:
        """See `Engine.close`."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait([self._working])
            self._working = None

    def _now(self) -> float:
        """Return the seconds on the engine's clock."""
        return asyncio.get_running_loop().time() * self._speed

    async def _work(self) -> None:
        while True:
            if self._batcher.idle:
                self._arrived.clear()
                await self._arrived.wait()
            finished = self._batcher.step()
            await asyncio.sleep(max(0.0, (self._batcher.clock - self._now()) / self._speed))
            for running in finished:
                if (waiting := self._waiting.get(running)) and not waiting.done():
                    waiting.set_result(None)


def prompt_parts(request: Request) -> list[Part]:
    """Return a prompt's texts and images with their tokens; equal keys mean equal prefixes."""
    parts: list[Part] = []
    key: object = None
    for message in request.messages:
        for content in message.content:
            if isinstance(content, Recipe):
                width, height = content.size
                tokens, own = width * height // 1024 + IMAGE_MARKS, content.digest
            else:
                tokens, own = token_count(content), content
            key = hash((key, own))
            parts.append(Part(key, tokens))
    return parts
