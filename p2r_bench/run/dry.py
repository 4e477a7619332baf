"""`run --dry-run`: the requests of the first samples, rendered without an engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from p2r_bench.errors import UserError, counted
from p2r_bench.run.images.prefetch import Ready, read_ahead
from p2r_bench.run.images.rendering import EncodedImage
from p2r_bench.run.resolve import Resolved, resolve
from p2r_bench.run.spec import RunSpec
from p2r_bench.types import Completion, Recipe, Request

SAMPLES = 2
MOST_REQUESTS = 8
"""Most requests shown of one sample."""

STAND_IN = json.dumps([{"bbox_2d": [375, 375, 625, 625], "label": "stand-in"}])
"""Stand-in for a perceiver's reply: one box in the middle of the image."""


@dataclass(frozen=True)
class Preview:
    """The requests that a run would send.

    Attributes:
        samples: Sample id to its requests in order, and to the status of a sample without any.
    """

    title: str
    rows: int
    profile: str
    profile_hash: str
    samples: dict[str, list[Request] | str]

    def as_json(self) -> dict[str, Any]:
        """Return the preview as a JSON object."""
        samples: list[dict[str, Any]] = []
        for name, sent in self.samples.items():
            if isinstance(sent, str):
                samples.append({"sample_id": name, "status": sent, "requests": []})
            else:
                requests = [_record(request, n > 0) for n, request in enumerate(sent)]
                samples.append({"sample_id": name, "status": "ok", "requests": requests})
        return {
            "run": self.title,
            "samples_to_do": self.rows,
            "profile": self.profile,
            "profile_hash": self.profile_hash,
            "samples": samples,
        }

    def text(self) -> str:
        """Return the preview as readable text."""
        head = (
            f"{self.title}: {counted(self.rows, 'sample')} to do, profile {self.profile} "
            f"({self.profile_hash[:12]})"
        )
        return "\n\n".join([head, *self._blocks()])

    def _blocks(self) -> Iterator[str]:
        for name, sent in self.samples.items():
            if isinstance(sent, str):
                yield f"sample {name}: {sent}, no request"
                continue
            for number, request in enumerate(sent):
                yield _text(request, stand_in=number > 0)


class _EnoughError(Exception):
    """Ends a mode that has shown its requests."""


def preview(spec: RunSpec) -> Preview:
    """Return the requests of the first two samples; fixed stand-ins replace the model's replies.

    Raises:
        UserError: A name, a value or the data is wrong, or an image cannot be read.
    """
    resolved = resolve(spec)
    samples = asyncio.run(_first(resolved))
    profile = resolved.profile
    return Preview(resolved.title, len(resolved.work()), profile.name, profile.hash, samples)


async def _first(resolved: Resolved) -> dict[str, list[Request] | str]:
    work = resolved.work()[:SAMPLES]
    return {
        ready.work.sample.id: await _requests(resolved, ready) async for ready in read_ahead(work)
    }


async def _requests(resolved: Resolved, ready: Ready) -> list[Request] | str:
    sample = ready.work.sample
    if not isinstance(ready.image, EncodedImage):
        raise UserError(f"{sample.id}: {ready.image.message}")
    sent: list[Request] = []

    async def ask(request: Request) -> Completion:
        sent.append(request)
        if len(sent) == MOST_REQUESTS:
            raise _EnoughError
        return Completion(STAND_IN if request.role == "perceive" else "<answer>A</answer>")

    try:
        prediction = await resolved.mode.solve(sample, ask, resolved.profile)
    except _EnoughError:
        return sent
    except Exception as error:
        if not sent:
            raise UserError(
                f"mode {resolved.spec.mode}: {sample.id}: {type(error).__name__}: {error}"
            ) from error
        return sent  # a mode may refuse the stand-in replies
    return sent or prediction.status


def _record(request: Request, stand_in: bool) -> dict[str, Any]:
    return {
        "role": request.role,
        "digest": request.digest,
        "made_from_stand_in_replies": stand_in,
        "messages": [
            {
                "role": message.role,
                "content": [
                    _image(part) if isinstance(part, Recipe) else {"text": part}
                    for part in message.content
                ],
            }
            for message in request.messages
        ],
        "sampling": asdict(request.sampling),
    }


def _text(request: Request, stand_in: bool) -> str:
    lines = [f"sample {request.sample_id}, role {request.role}, digest {request.digest[:12]}"]
    if stand_in:
        lines.append("(an example, made from stand-in replies such as one box in the middle)")
    for message in request.messages:
        lines.append(f"[{message.role}]")
        lines += [_line(part) if isinstance(part, Recipe) else part for part in message.content]
    return "\n".join([*lines, f"[sampling] {json.dumps(asdict(request.sampling))}"])


def _image(recipe: Recipe) -> dict[str, Any]:
    width, height = recipe.size
    return {
        "width": width,
        "height": height,
        "visual_tokens": recipe.visual_tokens,
        "crop": recipe.crop,
        "boxes_drawn": len(recipe.strokes),
    }


def _line(recipe: Recipe) -> str:
    shown = _image(recipe)
    made = f"crop {recipe.crop}" if recipe.crop else "whole image"
    if recipe.strokes:
        made += f", {len(recipe.strokes)} boxes drawn"
    count = shown["visual_tokens"]
    tokens = "unknown" if count is None else str(count)
    return f"<image {shown['width']}×{shown['height']}, {tokens} visual tokens: {made}>"
