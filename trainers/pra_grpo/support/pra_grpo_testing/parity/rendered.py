"""A call as a model receives it, comparable byte by byte."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image

from p2r_bench.engines.chat import chat_messages
from p2r_bench.types import Request

POLICY_FIELDS = ("temperature", "top_p", "max_tokens", "seed")
"""Sampling fields in which rollouts differ from evaluation on purpose."""


@dataclass(frozen=True)
class Rendered:
    """One call.

    Attributes:
        messages: Chat messages; each content is a list of texts and of numbers of images.
        images: Size and SHA-256 of the RGB bytes of each image.
        sampling: Every field.
    """

    sample_id: str
    role: str
    messages: tuple[tuple[str, tuple[str | int, ...]], ...]
    images: tuple[tuple[tuple[int, int], str], ...]
    sampling: Mapping[str, Any]
    schema: Mapping[str, Any] | None = None


Calls = Mapping[tuple[str, str], Rendered]
"""Sample id and role to the call."""


def rendered(request: Request, images: Sequence[Image.Image]) -> Rendered:
    """The call of a request with its images at their final size."""
    chat = chat_messages(request, lambda number: {"type": "image", "image": number})
    return Rendered(
        request.sample_id,
        request.role,
        canonical(chat),
        pixels(images),
        asdict(request.sampling),
        request.schema,
    )


def pixels(images: Sequence[Image.Image]) -> tuple[tuple[tuple[int, int], str], ...]:
    """Sizes and digests of images."""
    for image in images:
        if image.mode != "RGB":
            raise ValueError(f"an image of mode {image.mode}; models receive RGB")
    return tuple((image.size, hashlib.sha256(image.tobytes()).hexdigest()) for image in images)


def canonical(
    messages: Sequence[Mapping[str, Any]],
) -> tuple[tuple[str, tuple[str | int, ...]], ...]:
    """Chat messages with images by number, whatever stands for an image in them."""
    count = 0
    result = []
    for message in messages:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        shown: list[str | int] = []
        for part in parts:
            if part["type"] == "text":
                shown.append(part["text"])
            else:
                shown.append(count)
                count += 1
        result.append((str(message["role"]), tuple(shown)))
    return tuple(result)


def differences(left: Rendered, right: Rendered, *, rollout: bool = False) -> list[str]:
    """Return a line for each difference.

    Args:
        rollout: One of them is the policy's own call: `POLICY_FIELDS` may differ.
    """
    where = f"{left.sample_id}, {left.role}"
    found = [
        f"{where}: {name} {getattr(left, name)!r} and {getattr(right, name)!r}"
        for name in ("sample_id", "role", "messages", "images", "schema")
        if getattr(left, name) != getattr(right, name)
    ]
    skipped = POLICY_FIELDS if rollout else ("seed",)
    for name in left.sampling.keys() | right.sampling.keys():
        if name not in skipped and left.sampling.get(name) != right.sampling.get(name):
            found.append(
                f"{where}: {name} {left.sampling.get(name)} and {right.sampling.get(name)}"
            )
    return found
