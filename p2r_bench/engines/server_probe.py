"""Capabilities of a server, found with a few one-token requests before the first sample."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from p2r_bench.engines.openai_answer import OTHER_MODEL
from p2r_bench.errors import EngineError, UserError
from p2r_bench.families.smart_resize import SmartResize
from p2r_bench.http.retries import CallError
from p2r_bench.types import Completion, Message, Recipe, Request, Sampling

SMALL = (4, 8, 16, 64)
"""Sizes, in visual tokens, that are tried to find the lower limit of the server's image processor."""
LONGEST_STRIP = 128
"""Largest aspect ratio of a test image. Every number of tokens up to this one can be tried, as a strip."""
WRAPPING = 8
"""Most tokens that a chat template may put around an image."""

Send = Callable[[Request, Sequence[Image.Image], bool], Awaitable[Completion]]
"""Function that sends a request. Its last argument is True to include `openai_format.EXTRA_FIELDS`."""


@dataclass(frozen=True)
class Found:
    """Capabilities of a server.

    Attributes:
        extra: True if the server takes `openai_format.EXTRA_FIELDS`.
        schema: True if the server enforces JSON schemas.
        min_pixels, max_pixels: Limits between which the server does not resize images; None if they were not tested.
    """

    extra: bool
    schema: bool
    min_pixels: int | None = None
    max_pixels: int | None = None


async def probe(
    send: Send, *, where: str, max_images: int, family: SmartResize | None, max_pixels: int
) -> Found:
    """Find out what a server can do.

    Args:
        where: The server's URL, for messages.
        max_images: Images that one request must be able to hold.
        family: The model family whose visual tokens are counted, or None to leave image sizes unchecked.
        max_pixels: Largest image size to try.

    Raises:
        UserError: The server takes too few images, or resizes images of every size.
        EngineError: The server does not answer, or refuses a sampling field of the standard.
    """
    extra, text_only = await _text(send)
    schema = await _schema(send, extra)
    if family is None:
        return Found(extra, schema)
    if text_only.prompt_tokens is None:
        raise UserError(
            f"{where} does not count prompt tokens (usage.prompt_tokens), so it cannot be checked that it leaves "
            "images as they are. --engine-arg pixels=unchecked goes on without; this is recorded."
        )

    async def surplus(tokens: int, count: int = 1) -> int | None:
        """Return the prompt tokens of `count` images beyond their visual tokens, or None if the server refuses them."""
        try:
            answer = await send(*_request(tokens, count, family.factor), extra)
        except EngineError as error:
            if _is_refusal(error):
                return None
            raise
        return (answer.prompt_tokens or 0) - (text_only.prompt_tokens or 0) - count * tokens

    tile = family.factor**2
    kept = await _kept_sizes(surplus, _reachable(max_pixels // tile), where, family.name)
    if await surplus(kept.smallest, max_images) != max_images * kept.wrapping:
        raise UserError(
            f"{where} refuses or shortens a request with {max_images} small images. vLLM takes more with "
            f"--limit-mm-per-prompt '{{\"image\": {max_images}}}'; a profile with a smaller crop.count sends fewer."
        )
    # An image of one more pixel than this has one more visual token.
    largest = (kept.largest + 1) * tile - 1
    return Found(
        extra, schema, kept.smallest * tile, max(largest, max_pixels) if kept.all else largest
    )


Surplus = Callable[[int], Awaitable[int | None]]


@dataclass(frozen=True)
class _Kept:
    """Sizes, in visual tokens, that a server does not resize, and the number of tokens around each image."""

    smallest: int
    largest: int
    wrapping: int
    all: bool


async def _kept_sizes(surplus: Surplus, most: int, where: str, family: str) -> _Kept:
    """Return the sizes that the server's processor does not resize.

    Images below the processor's lower limit are enlarged, so that their surplus is larger. Images above the upper limit
    are shrunk, so that their surplus is smaller. All images between the limits have the same surplus.
    """
    found = dict(zip(SMALL, await asyncio.gather(*map(surplus, SMALL)), strict=True))
    found[most] = await surplus(most)
    if found[most] is None or found[most] != found[SMALL[-1]]:
        halves = [size for n in range(1, 20) if SMALL[-1] < (size := _reachable(most >> n))]
        found.update(zip(halves, await asyncio.gather(*map(surplus, halves)), strict=True))
    sizes = sorted(found)
    wrapping = next(
        (
            seen
            for size, larger in itertools.pairwise(sizes)
            if (seen := found[size]) is not None and seen == found[larger] and 0 <= seen <= WRAPPING
        ),
        None,
    )
    if wrapping is None:
        counts = ", ".join(
            f"{'refused' if (more := found[size]) is None else size + more} for {size}"
            for size in sizes
        )
        raise UserError(
            f"{where} counts other visual tokens than the family {family} ({counts}). If the model is of "
            "another family, name it with --family. Otherwise the server resizes images, and the model would not see "
            "the recorded pixels; --engine-arg pixels=unchecked continues all the same, and the run records it."
        )
    kept = [size for size in sizes if found[size] == wrapping]
    good, bad = kept[-1], next((size for size in sizes if size > kept[-1]), None)
    while bad is not None and bad <= LONGEST_STRIP and bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if await surplus(middle) == wrapping else (good, middle)
    return _Kept(kept[0], good, wrapping, all=bad is None)


async def _text(send: Send) -> tuple[bool, Completion]:
    request, images = _request(1, 0, 32)
    try:
        return True, await send(request, images, True)
    except CallError as error:
        if error.status not in (400, 422):
            raise
    return False, await send(request, images, False)


def _is_refusal(error: EngineError) -> bool:
    """Return whether a server refuses the request itself. A busy or unreachable server does not."""
    if error.kind == OTHER_MODEL:
        return False
    return not error.retryable or error.kind in ("http_500", "bad_response", "error_body")


async def _schema(send: Send, extra: bool) -> bool:
    request = Request(
        sample_id="probe",
        role="answer",
        messages=(Message("user", ("Write one word.",)),),
        sampling=Sampling(max_tokens=24, seed=0),
        schema={
            "type": "object",
            "properties": {"w": {"enum": ["p2r"]}},
            "required": ["w"],
            "additionalProperties": False,
        },
    )
    try:
        text = (await send(request, (), extra)).text
    except EngineError as error:
        if _is_refusal(error):
            return False
        raise
    try:
        return bool(json.loads(text) == {"w": "p2r"})
    except ValueError:
        return False


def _reachable(tokens: int) -> int:
    """Return the largest size, up to `tokens`, of which `_request` can make an image."""
    rows = _rows(tokens)
    return tokens // rows * rows


def _rows(tokens: int) -> int:
    """Return the height, in tokens, of the squarest image of `tokens` tokens that is no longer than `LONGEST_STRIP`."""
    square = math.isqrt(tokens)
    rows = next((rows for rows in range(square, 0, -1) if tokens % rows == 0), 1)
    return rows if tokens <= LONGEST_STRIP * rows * rows else square


def _request(tokens: int, count: int, factor: int) -> tuple[Request, list[Image.Image]]:
    """Return a request with `count` white images of `tokens` visual tokens, each of factor × factor pixels."""
    rows = _rows(tokens)
    size = (tokens // rows * factor, rows * factor)
    recipe = Recipe("probe", "apply", "white", (), None, (size,))
    request = Request(
        sample_id="probe",
        role="answer",
        messages=(Message("user", (*[recipe] * count, "Hello.")),),
        sampling=Sampling(max_tokens=1, seed=0),
    )
    return request, [Image.new("RGB", size, "white") for _ in range(count)]
