"""`run --dry-run`: the first request of the first samples, rendered without an engine."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

from p2r_bench.errors import UserError
from p2r_bench.run.feed import Ready, read_ahead
from p2r_bench.run.images import EncodedImage
from p2r_bench.run.resolve import Resolved, resolve
from p2r_bench.run.spec import RunSpec
from p2r_bench.types import Completion, Recipe, Request

SAMPLES = 2


class _Rendered(Exception):
    """Carries the first request out of a mode."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request


def render_first(spec: RunSpec) -> str:
    """The first request of the first two samples, as text.

    Raises:
        UserError: As a real run would before it starts an engine, or an image cannot be read.
    """
    resolved = resolve(spec)
    shown = asyncio.run(_first(resolved))
    head = (
        f"{resolved.title}: {len(resolved.work())} samples to do, profile {resolved.profile.name} "
        f"({resolved.profile.hash[:12]})"
    )
    return "\n\n".join([head, *shown])


async def _first(resolved: Resolved) -> list[str]:
    work = resolved.work()[:SAMPLES]
    return [await _render(resolved, ready) async for ready in read_ahead(work)]


async def _render(resolved: Resolved, ready: Ready) -> str:
    sample = ready.work.sample
    if not isinstance(ready.image, EncodedImage):
        raise UserError(f"{sample.id}: {ready.image.message}")

    async def ask(request: Request) -> Completion:
        raise _Rendered(request)

    try:
        prediction = await resolved.mode.solve(sample, ask, resolved.profile)
    except _Rendered as rendered:
        return _text(rendered.request)
    return f"sample {sample.id}: {prediction.status}, no request"


def _text(request: Request) -> str:
    lines = [f"sample {request.sample_id}, role {request.role}, digest {request.digest[:12]}"]
    for message in request.messages:
        lines.append(f"[{message.role}]")
        lines += [_image(part) if isinstance(part, Recipe) else part for part in message.content]
    return "\n".join([*lines, f"[sampling] {json.dumps(asdict(request.sampling))}"])


def _image(recipe: Recipe) -> str:
    width, height = recipe.size
    made = f"crop {recipe.crop}" if recipe.crop else "whole image"
    if recipe.strokes:
        made += f", {len(recipe.strokes)} boxes drawn"
    return f"<image {width}×{height}, {width * height // 1024} visual tokens: {made}>"
