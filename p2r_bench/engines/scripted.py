"""An engine that answers by a rule instead of a model, for tests and for timing the rest of the pipeline.

A test registers `p2r_bench.engines.scripted:ScriptedEngine` under any name; the core does not register it.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from p2r_bench.engines.arguments import argument, read_arguments
from p2r_bench.engines.chat import check_images
from p2r_bench.engines.completions import cut_at_stop
from p2r_bench.errors import EngineError, UserError
from p2r_bench.types import Capabilities, Completion, EngineConfig, Request

if TYPE_CHECKING:
    from PIL import Image

Script = Callable[[Request], str]
"""Function that returns the answer to a request. It may raise EngineError."""

Latency = Callable[[Request, str], float]
"""Function from a request and its answer to the seconds that answering occupies one of the engine's slots."""


@dataclass(frozen=True)
class Arguments:
    """Values of `--engine-arg`."""

    script: str = argument(
        "p2r_bench.engines.scripted:by_digest", "MODULE:FUNCTION from a request to its answer"
    )
    latency: str | None = argument(None, "MODULE:FUNCTION, or seconds, that an answer takes")
    places: int = argument(32, "requests worked on at once", least=1)
    failing: float = argument(0.0, "share of requests that fail, chosen by their digest", least=0)
    context: int | None = argument(None, "context length to claim, in tokens", least=1)


class ScriptedEngine:
    """Answers every request by a rule; equal requests get equal answers.

    Args:
        script, latency: Functions used instead of those that the arguments name.
    """

    def __init__(
        self, config: EngineConfig, script: Script | None = None, latency: Latency | None = None
    ) -> None:
        self.config = config
        self.arguments = read_arguments(Arguments, config.args, "scripted")
        self.requests: list[Request] = []
        self.running = False
        self._script = script or _function(self.arguments.script)
        self._latency = latency or _latency(self.arguments.latency)
        self._places = asyncio.Semaphore(self.arguments.places)

    async def identify(self) -> str:
        """Hash of the model's name and the script's; see `Engine.identify`."""
        return hashlib.sha256(f"{self.config.model} {self.arguments.script}".encode()).hexdigest()

    async def start(self) -> None:
        """See `Engine.start`."""
        self.running = True

    def capabilities(self) -> Capabilities:
        """All sampling fields, and no enforced schemas; see `Engine.capabilities`."""
        return Capabilities(
            concurrency=self.arguments.places,
            context_tokens=self.arguments.context,
            facts={"engine": "scripted", "script": self.arguments.script},
        )

    async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
        """See `Engine.generate`; the counts of tokens are those of words."""
        if not self.running:
            raise EngineError("the engine is not running", kind="closed")
        if request.schema is not None:
            raise EngineError(
                "the scripted engine cannot enforce a JSON schema (structured_boxes must be false)",
                kind="unsupported",
                retryable=False,
            )
        check_images(request, images, None)
        self.requests.append(request)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with self._places:
            started = loop.time()
            if share_of(request) < self.arguments.failing:
                raise EngineError("a scripted failure", kind="scripted")
            words = self._script(request).split(" ")
            text = cut_at_stop(
                " ".join(words[: request.sampling.max_tokens]), request.sampling.stop
            )
            if self._latency is not None:
                await asyncio.sleep(self._latency(request, text))
        return Completion(
            text=text,
            finish_reason="stop" if len(words) <= request.sampling.max_tokens else "length",
            prompt_tokens=(request.visual_tokens or 0)
            + sum(len(text.split()) for text in _texts(request)),
            cached_tokens=0,
            output_tokens=min(len(words), request.sampling.max_tokens),
            visual_tokens=request.visual_tokens,
            timings={"queue": started - begun, "engine": loop.time() - started},
            engine={"engine": "scripted"},
        )

    async def close(self) -> None:
        """See `Engine.close`."""
        self.running = False


def by_digest(request: Request) -> str:
    """A well-formed answer for every role, chosen by the request's digest: one box, or a letter of A to D."""
    number = int(request.digest[:8], 16)
    if request.role == "perceive":
        x, y = number % 800, number // 800 % 800
        return json.dumps([{"bbox_2d": [x, y, x + 150, y + 150], "label": "sign"}])
    letter = "ABCD"[number % 4]
    if request.role == "answer":
        return letter
    return f"<think>The digest says so.</think><answer>{letter}</answer>"


def share_of(request: Request) -> float:
    """Return a number from 0 to 1: fixed for a request, evenly spread over requests."""
    return int(hashlib.sha256(request.digest.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF


def _texts(request: Request) -> list[str]:
    return [part for m in request.messages for part in m.content if isinstance(part, str)]


def _latency(text: str | None) -> Latency | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return _function(text)
    return lambda request, answer: seconds


def _function(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: no such function, as MODULE:FUNCTION ({error})") from error
    return function
