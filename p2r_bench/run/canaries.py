"""Start-up checks ("canaries"): a few short requests that show whether an engine mixes up its inputs.

The engine's capabilities decide which checks apply. Some checks are certain: the counts of visual tokens, the identity
of images, equal replies with and without a cache. A failure of one refuses the run. Others depend on the model's
abilities: a box near a sign, the order of two images. A failure of one is a warning.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image, ImageDraw

from p2r_bench.adapter import Profile, TwoStage, parse_boxes
from p2r_bench.errors import EngineDead, EngineError, EngineStopped, UserError
from p2r_bench.types import (
    Completion,
    Engine,
    ImageRef,
    Message,
    Recipe,
    Request,
    Sample,
    Sampling,
)

NAMES = ("box", "order", "tokens", "images", "cache")
CERTAIN = frozenset({"tokens", "images", "cache"})
"""Canaries whose failure does not depend on the model's abilities."""

SIGN = (0.55, 0.25, 0.62, 0.37)
"""The red sign of the canary `box`: left, top, right, bottom as fractions of the image."""
SLACK = 60.0
"""Thousandths by which a box's centre may miss the sign's."""
BOX_TOKENS = 96
WORD_TOKENS = 8
COLOURS = {"red": (214, 40, 40), "blue": (40, 60, 214)}
NOISE = 0.25
"""Largest difference of one token's log-probability, in nats, between replies with and without a cache."""

Result = Literal["passed", "failed", "unclear", "not applicable", "skipped"]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one canary. It is `unclear` if the request failed or the reply cannot be interpreted."""

    name: str
    result: Result
    detail: str = ""
    seconds: float = 0.0

    def record(self) -> dict[str, Any]:
        """Return the outcome as the manifest holds it."""
        return {"result": self.result, "detail": self.detail, "seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class Policy:
    """Names of the canaries to skip, and the effect of a failure that depends on the model: a warning or a refusal."""

    skipped: frozenset[str] = frozenset()
    strict: bool = False

    @classmethod
    def read(cls, text: str) -> Policy:
        """Read the value of the option: "warn", "strict", "off" or "skip=NAME,NAME".

        Raises:
            UserError: Another value, or a canary that does not exist.
        """
        kind, equals, names = text.partition("=")
        skipped = frozenset(name.strip() for name in names.split(","))
        if text in ("warn", "strict"):
            return cls(strict=text == "strict")
        if text == "off":
            return cls(frozenset(NAMES))
        if kind == "skip" and equals and skipped <= frozenset(NAMES):
            return cls(skipped)
        raise UserError(
            f"--canaries {text}: expected warn, strict, off or skip=NAME,NAME; names: {', '.join(NAMES)}."
        )


async def check(
    engine: Engine, profile: Profile, roles: Sequence[str], max_images: int, policy: Policy
) -> dict[str, Any]:
    """Run the canaries that apply to a started engine, and return their outcomes by name.

    Args:
        roles: Roles that the engine plays. The canary `box` needs `perceive`.
        max_images: Most images of one request.

    Raises:
        UserError: A certain canary fails, or any under a strict policy.
        EngineStopped: The engine died.
    """
    wanted = engine.capabilities().canaries
    if not wanted:
        return {}
    canaries = _Canaries(engine, profile)
    applicable = {
        "box": canaries.box if "perceive" in roles else None,
        "order": canaries.order if max_images > 1 else None,
        "tokens": canaries.tokens,
        "images": canaries.images,
        "cache": canaries.cache,
    }
    outcomes = []
    for name in NAMES:
        if name in policy.skipped:
            outcomes.append(Outcome(name, "skipped"))
        elif name not in wanted or (run := applicable[name]) is None:
            outcomes.append(Outcome(name, "not applicable"))
        else:
            outcomes.append(await _timed(name, run))
    _judge(outcomes, policy)
    return {outcome.name: outcome.record() for outcome in outcomes}


async def _timed(name: str, run: Callable[[], Awaitable[tuple[Result, str]]]) -> Outcome:
    begun = time.perf_counter()
    try:
        result, detail = await run()
    except EngineDead as error:
        raise EngineStopped(str(error)) from error
    except EngineError as error:
        result, detail = "unclear", f"the request failed: {error}"
    return Outcome(name, result, detail, time.perf_counter() - begun)


def _judge(outcomes: Sequence[Outcome], policy: Policy) -> None:
    for outcome in outcomes:
        if outcome.result != "failed":
            continue
        text = f"canary {outcome.name!r} failed: {outcome.detail}"
        if policy.strict or outcome.name in CERTAIN:
            raise UserError(
                f"{text}. --canaries skip={outcome.name} runs without this check; the manifest records it."
            )
        log.warning("%s. The run goes on; --canaries strict would refuse it", text)


class _Canaries:
    """The requests of the canaries. Each image has a fresh identity, so that no cache of an earlier session answers."""

    def __init__(self, engine: Engine, profile: Profile) -> None:
        self._engine = engine
        self._profile = profile
        self._nonce = secrets.token_hex(4)
        self._replies: dict[tuple[str, int], Completion] = {}

    async def box(self) -> tuple[Result, str]:
        """Check that the model finds a sign drawn at a known place."""
        size = (1280, 720)
        ref = ImageRef(data=b"", digest=f"canary/{self._nonce}/sign", size=size)
        options = {"A": "1", "B": "3", "C": "7", "D": "9"}
        question = "What digit is on the red sign?"
        sample = Sample("canary", "canary", ref, question, "C", options=options)
        tokens = min(BOX_TOKENS, self._profile.sampling.for_role("perceive").max_tokens)
        request = TwoStage(self._profile).perceive_request(
            sample, max_tokens=tokens, seed=0, temperature=0.0
        )
        images = [_sign(recipe.size) for recipe in request.recipes]
        reply = await self._engine.generate(request, images)
        boxes = parse_boxes(reply.text)
        if not boxes:
            return "failed", f"the model names no box in {reply.text[:80]!r}: it may not ground"
        wanted = _centre(tuple(1000 * edge for edge in SIGN))
        misses = [
            max(abs(a - b) for a, b in zip(_centre(box.xyxy), wanted, strict=True)) for box in boxes
        ]
        x1, y1, x2, y2 = (round(1000 * edge) for edge in SIGN)
        detail = f"a sign at [{x1}, {y1}, {x2}, {y2}], the nearest box misses its centre by {min(misses):.0f}"
        return ("passed" if min(misses) <= SLACK else "failed"), detail

    async def order(self) -> tuple[Result, str]:
        """Check that the engine keeps the order of two images in one request."""
        text = "Which colour is the first of the two pictures? Answer with one word: red or blue."
        pairs = (("red", "blue"), ("blue", "red"))
        replies = await asyncio.gather(*(self._ask(text, colours) for colours in pairs))
        named = [_colour(reply.text) for reply in replies]
        said = " and ".join(repr(reply.text[:40]) for reply in replies)
        if named == ["red", "blue"]:
            return "passed", ""
        if None in named:
            return "not applicable", f"the model does not answer the question: {said}"
        return (
            "failed",
            f"asked for the colour of the first of two images, red then blue and blue then red, the model says {said}",
        )

    async def tokens(self) -> tuple[Result, str]:
        """Check that a larger image adds the number of prompt tokens that follows from its size."""
        factor = self._engine.capabilities().factor
        text = "Say yes."
        small, large = self._sizes()
        replies = [await self._ask(text, ["red"], size=size, most=1) for size in (small, large)]
        counts = [reply.prompt_tokens for reply in replies]
        if counts[0] is None or counts[1] is None:
            return "unclear", "the server does not count prompt tokens"
        if small[0] * small[1] == large[0] * large[1]:
            return "not applicable", "the profile's budget holds one size only"
        by_size = [self._profile.model_family.visual_tokens(size) for size in (small, large)]
        if by_size[0] is None or by_size[1] is None:
            return "not applicable", "the model family does not fix visual tokens"
        ours = by_size[1] - by_size[0]
        theirs = counts[1] - counts[0]
        detail = (
            f"an image of {large[0]}×{large[1]} pixels has {theirs} prompt tokens more than one of "
            f"{small[0]}×{small[1]}; by their sizes it is {ours}"
        )
        if theirs == ours:
            return "passed", detail
        # The engine does not promise to keep sizes; the run records that.
        return ("unclear" if factor is None else "failed"), detail

    async def images(self) -> tuple[Result, str]:
        """Check that the engine does not confuse two images with different identities."""
        red, blue = await self._reply("red"), await self._reply("blue")
        if red.text != blue.text:
            return "passed", ""
        if red.logprobs is None or blue.logprobs is None:
            return (
                "unclear",
                f"both are answered with {red.text!r}, and no log-probabilities are given",
            )
        if red.logprobs != blue.logprobs:
            return "passed", ""
        return (
            "failed",
            "a red and a blue image get replies with exactly equal probabilities: the engine confuses "
            "them, or ignores images",
        )

    async def cache(self) -> tuple[Result, str]:
        """Check that the same request gets the same reply with and without a cache."""
        for _ in range(2):
            first, again = await self._reply("red"), await self._reply("red", 1)
            if _alike(first, again):
                return (
                    "passed",
                    f"{again.cached_tokens or 0} tokens of the second came from a cache",
                )
            third = await self._reply("red", 2)
            if not _alike(again, third):
                return (
                    "unclear",
                    f"the engine is not deterministic: {first.text!r}, {again.text!r}, {third.text!r}",
                )
            self._nonce = secrets.token_hex(4)
        return (
            "failed",
            f"the same request got {first.text!r} at first and {again.text!r} from the cache, each time it was tried",
        )

    async def _reply(self, colour: str, number: int = 0) -> Completion:
        """Return the reply about one image. Each number is asked once, so that two canaries share its reply."""
        key = (f"{colour}/{self._nonce}", number)
        if key not in self._replies:
            text = f"Picture {self._nonce}. Which colour is it? Answer with one word."
            self._replies[key] = await self._ask(text, [colour])
        return self._replies[key]

    async def _ask(
        self,
        text: str,
        colours: Sequence[str],
        *,
        size: tuple[int, int] | None = None,
        most: int = WORD_TOKENS,
    ) -> Completion:
        size = size or self._sizes()[0]
        recipes = [
            Recipe(f"canary/{self._nonce}/{colour}", "apply", "white", (), None, (size,))
            for colour in colours
        ]
        request = Request(
            sample_id="canary",
            role="answer",
            messages=(Message("user", (*recipes, text)),),
            sampling=Sampling(max_tokens=most, seed=0),
            logprobs=True,
        )
        images = [Image.new("RGB", size, COLOURS[colour]) for colour in colours]
        return await self._engine.generate(request, images)

    def _sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the final sizes of a small and a larger image under the profile's budget."""
        sizes = [
            TwoStage(self._profile)
            .whole(
                Sample("canary", "canary", ImageRef(data=b"", digest="canary", size=size), "", "")
            )
            .size
            for size in ((320, 320), (640, 320))
        ]
        small, large = sorted(sizes, key=lambda size: size[0] * size[1])
        return small, large


def _sign(size: tuple[int, int]) -> Image.Image:
    width, height = size
    image = Image.new("RGB", size, (128, 128, 128))
    edges = [edge * side for edge, side in zip(SIGN, (width, height) * 2, strict=True)]
    ImageDraw.Draw(image).rectangle(edges, fill=(208, 76, 78))
    return image


def _centre(xyxy: Sequence[float]) -> tuple[float, float]:
    return (xyxy[0] + xyxy[2]) / 2, (xyxy[1] + xyxy[3]) / 2


def _colour(text: str) -> str | None:
    """Return the one colour that a reply names, or None."""
    named = [colour for colour in COLOURS if colour in text.lower()]
    return named[0] if len(named) == 1 else None


def _alike(one: Completion, other: Completion) -> bool:
    """Return whether two replies are the same except for float noise."""
    if one.text != other.text:
        return False
    pairs = zip(one.logprobs or (), other.logprobs or (), strict=False)
    return all(abs(a - b) <= NOISE for a, b in pairs)
