"""Pixels in verl's workers: rendered from recipes, once for all rollouts of a prompt that ask at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from PIL import Image

from p2r_bench.images import EncodedImage, ImageWork
from p2r_bench.store.rows import recipe_from_json, recipe_to_json
from p2r_bench.tasks.reading import read_image
from p2r_bench.types import ImageRef, Recipe
from p2r_bench_pra_grpo.backends.verl.rows import image_from

_works: dict[asyncio.AbstractEventLoop, ImageWork] = {}


def image_part(recipe: Recipe, source: ImageRef) -> dict[str, Any]:
    """Return the content part of a chat message for an image: a few hundred bytes, however large it is."""
    return {
        "type": "image",
        "image": {"recipe": recipe_to_json(recipe), "source": asdict(source)},
    }


async def images_of(messages: Sequence[Mapping[str, Any]]) -> list[Image.Image]:
    """Return the images of messages made with `image_part`, RGB at their final size, in order.

    Raises:
        ImageError: A source cannot be read.
    """
    parts = [
        part["image"]
        for message in messages
        if not isinstance(message["content"], str)
        for part in message["content"]
        if part["type"] == "image"
    ]
    if not parts:
        return []
    source = image_from(parts[0]["source"])
    recipes = [recipe_from_json(part["recipe"]) for part in parts]
    data = await asyncio.to_thread(read_image, source)
    prepared = await _work().prepare(recipes, EncodedImage(source, data))
    try:
        return list(cast(Sequence[Image.Image], prepared.lend()))
    finally:
        prepared.release()


def _work() -> ImageWork:
    """Return the event loop's image work; verl's workers have one loop for their whole life."""
    loop = asyncio.get_running_loop()
    for closed in [other for other in _works if other.is_closed()]:
        _works.pop(closed).close()
    if loop not in _works:
        _works[loop] = ImageWork()
    return _works[loop]
