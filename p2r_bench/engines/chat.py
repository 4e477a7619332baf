"""Requests as chat messages, in the form that chat templates and OpenAI-compatible servers read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from p2r_bench.errors import EngineError
from p2r_bench.types import Recipe, Request, WireImage


def chat_messages(
    request: Request, image_part: Callable[[int], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Messages of a request: a message without images has a plain string as its content.

    Args:
        image_part: Makes the content part of the image at this index of `request.recipes`.
    """
    index = 0
    messages: list[dict[str, Any]] = []
    for message in request.messages:
        if all(isinstance(part, str) for part in message.content):
            text = "".join(str(part) for part in message.content)
            messages.append({"role": message.role, "content": text})
            continue
        parts: list[dict[str, Any]] = []
        for part in message.content:
            if isinstance(part, Recipe):
                parts.append(image_part(index))
                index += 1
            else:
                parts.append({"type": "text", "text": part})
        messages.append({"role": message.role, "content": parts})
    return messages


def check_images(
    request: Request, images: Sequence[Image.Image | WireImage], factor: int | None
) -> None:
    """Check that every image is RGB, has its recipe's final size, and has sides that are multiples of `factor`.

    Raises:
        EngineError: An image differs, so that the model would see other pixels than the recorded ones.
    """
    recipes = request.recipes
    if len(images) != len(recipes):
        raise EngineError(
            f"{request.id}: the engine got {len(images)} images, and the request has {len(recipes)} recipes",
            kind="images",
            retryable=False,
        )
    for number, (recipe, image) in enumerate(zip(recipes, images, strict=True)):
        mode = "RGB" if isinstance(image, WireImage) else image.mode
        if image.size != recipe.size or mode != "RGB":
            raise EngineError(
                f"{request.id}: image {number} is {mode} {image.size}, "
                f"its recipe says RGB {recipe.size}",
                kind="images",
                retryable=False,
            )
        width, height = image.size
        if factor and (width % factor or height % factor):
            raise EngineError(
                f"{request.id}: image {number} is {width}×{height} pixels, and the model "
                f"takes multiples of {factor}: the profile's factor does not fit this model",
                kind="images",
                retryable=False,
            )
