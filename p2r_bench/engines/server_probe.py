"""What a server can do, found out with a few one-token requests before the first sample."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from PIL import Image

from p2r_bench.engines.endpoints import CallError
from p2r_bench.errors import EngineError, UserError
from p2r_bench.types import Completion, Message, Recipe, Request, Sampling, Size

FACTOR = 32
"""Side in pixels of a visual token in the Qwen3-VL family."""
REFERENCE: Size = (256, 256)
SMALL: tuple[Size, ...] = ((64, 64), (128, 64), (128, 128), REFERENCE)
"""Sizes at which a lower limit of the server's image processor is looked for: 4, 8, 16 and 64 tokens."""
WRAPPING = 8
"""Most tokens that a chat template may put around an image; the family's puts two."""

Send = Callable[[Request, Sequence[Image.Image], bool], Awaitable[Completion]]
"""Sends a request; the last argument says whether the extra sampling fields go with it."""


@dataclass(frozen=True)
class Found:
    """What a server can do.

    Attributes:
        extra: It takes the sampling fields that the standard has not.
        schema: It enforces JSON schemas.
        min_pixels, max_pixels: Sizes between which it leaves images alone; None when not looked for.
    """

    extra: bool
    schema: bool
    min_pixels: int | None = None
    max_pixels: int | None = None


async def probe(send: Send, *, where: str, max_images: int, max_pixels: int | None) -> Found:
    """Find out what a server can do.

    Args:
        where: The server's URL, for messages.
        max_images: Images that one request must be able to hold.
        max_pixels: Largest image size to try, or None to leave image sizes unchecked.

    Raises:
        UserError: It does not answer, refuses a sampling field that the standard has, takes too few
            images, or resizes images of every size.
    """
    try:
        extra, text_only = await _text(send)
    except EngineError as error:
        raise UserError(f"{where} does not answer a simple request: {error}") from error
    schema = await _schema(send, extra)
    if max_pixels is None:
        return Found(extra, schema)
    if text_only.prompt_tokens is None:
        raise UserError(
            f"{where} does not count prompt tokens (usage.prompt_tokens), so it cannot be checked that it leaves "
            "images as they are. --engine-arg pixels=unchecked goes on without; this is recorded."
        )

    async def visual_tokens(size: Size, count: int = 1) -> int:
        counted = (await send(*_request(size, count), extra)).prompt_tokens or 0
        return counted - (text_only.prompt_tokens or 0)

    try:
        wrapping = await visual_tokens(REFERENCE) - _tokens(REFERENCE)
        if not 0 <= wrapping <= WRAPPING:
            raise UserError(
                f"{where} makes {wrapping + _tokens(REFERENCE)} tokens of an image of 256×256 pixels, and the "
                f"Qwen3-VL family {_tokens(REFERENCE)}: the model would not see the recorded pixels. "
                "--engine-arg pixels=unchecked goes on all the same; this is recorded."
            )
        together = await visual_tokens(REFERENCE, max_images)
    except EngineError as error:
        raise UserError(
            f"{where} refuses a request with {max_images} small images: {error}. vLLM allows more with "
            f"--limit-mm-per-prompt '{{\"image\": {max_images}}}'."
        ) from error
    if together < max_images * _tokens(REFERENCE):
        raise UserError(
            f"{where} counts {together} tokens for {max_images} images of 256×256 pixels: some were dropped."
        )

    async def left_alone(size: Size) -> bool:
        try:
            return await visual_tokens(size) - wrapping == _tokens(size)
        except CallError:
            return False  # refused: too small for its processor, or too large for its context

    kept = await asyncio.gather(*map(left_alone, SMALL[:-1]))
    smallest = next((size for size, fine in zip(SMALL, kept, strict=False) if fine), REFERENCE)
    largest = REFERENCE
    for size in _falling(max_pixels):
        if await left_alone(size):
            largest = size
            break
    return Found(extra, schema, smallest[0] * smallest[1], largest[0] * largest[1])


async def _text(send: Send) -> tuple[bool, Completion]:
    request, images = _request(REFERENCE, 0)
    try:
        return True, await send(request, images, True)
    except CallError as error:
        if error.status not in (400, 422):
            raise
    return False, await send(request, images, False)


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
    except CallError:
        return False
    try:
        return bool(json.loads(text) == {"w": "p2r"})
    except ValueError:
        return False


def _request(size: Size, count: int) -> tuple[Request, list[Image.Image]]:
    recipe = Recipe("probe", "apply", "white", (), None, (size,))
    request = Request(
        sample_id="probe",
        role="answer",
        messages=(Message("user", (*[recipe] * count, "Hello.")),),
        sampling=Sampling(max_tokens=1, seed=0),
    )
    return request, [Image.new("RGB", size, "white") for _ in range(count)]


def _tokens(size: Size) -> int:
    return size[0] * size[1] // FACTOR**2


def _falling(max_pixels: int) -> list[Size]:
    """Sizes from the largest one of at most `max_pixels` down, halving."""
    sizes = []
    tokens = max_pixels // FACTOR**2
    while tokens > _tokens(REFERENCE):
        rows = int(tokens**0.5)
        sizes.append((tokens // rows * FACTOR, rows * FACTOR))
        tokens //= 2
    return sizes
