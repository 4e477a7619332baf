"""Requests with random images, the same for the same number."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from PIL import Image

from p2r_bench.types import Message, Recipe, Request, Sampling, Size


def make_request(
    number: int = 0,
    *,
    sizes: tuple[Size, ...] | None = None,
    text: str | None = None,
    role: str = "answer",
    priority: int = 0,
    **sampling: Any,
) -> tuple[Request, list[Image.Image]]:
    """A request and its images; sizes and text are drawn where they are not given."""
    rng = random.Random(number)
    if sizes is None:
        sizes = tuple(
            (32 * rng.randint(1, 5), 32 * rng.randint(1, 4)) for _ in range(rng.randint(0, 3))
        )
    if text is None:
        text = "".join(rng.choice("abcdefgh ,.?") for _ in range(rng.randint(1, 50)))
    recipes = [
        Recipe(
            *(f"{number}/{i}", "apply", "white", (), None, (size,)),
            visual_tokens=size[0] * size[1] // 1024,
        )
        for i, size in enumerate(sizes)
    ]
    pixels = np.random.default_rng(number)
    images = [
        Image.fromarray(pixels.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in sizes
    ]
    request = Request(
        sample_id=f"sample-{number}",
        role=role,
        messages=(Message("system", ("Be brief.",)), Message("user", (*recipes, text))),
        sampling=Sampling(**{"max_tokens": 16, "seed": number, **sampling}),
        priority=priority,
    )
    return request, images


def about(request: Request) -> str:
    """An answer that depends on the sample and the images alone."""
    return f"The answer to {request.sample_id} with {request.visual_tokens} visual tokens is known."
