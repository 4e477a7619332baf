"""The image path against the straightforward route, on the images of the same requests.

    python -m benchmarks.images [--rows 32] [--json]

Each row, in HR-Bench's format at 8K, needs the images of p2r: the whole image at the profile's budget, then the image
with its boxes drawn, and the crops. The straightforward route processes one row after the other with plain Pillow
calls: open, convert, resize; copy, draw, crop, resize. The run's image path shares images between rows and uses a
thread pool, on the route `exact` (with pixels compared to the straightforward ones) and on the route `fast`. The last
line is one JSON object with seconds per row (`straightforward_s`, `exact_s`, `fast_s`), ratios and the deviation of
`fast`.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from benchmarks import data
from benchmarks.answers import Answers
from benchmarks.output import emit, options_of
from benchmarks.parts import Asked, images_alone, ready_made, ready_rows, requests_of
from benchmarks.running import samples_of
from benchmarks.usage import cpu_seconds
from p2r_bench.adapter import Profile, load_profile
from p2r_bench.run.images.prefetch import Ready
from p2r_bench.run.images.rendering import EncodedImage
from p2r_bench.run.settings import IMAGE_MEMORY
from p2r_bench.types import Recipe, Request

IN_FLIGHT = 64


def straightforward(ready: Ready, requests: Sequence[Request]) -> dict[str, Image.Image]:
    """Return the images of one row's requests, by recipe digest."""
    assert isinstance(ready.image, EncodedImage), ready.image
    made = {}
    with Image.open(io.BytesIO(ready.image.data)) as opened:
        source = opened.convert("RGB")
        for recipe in (r for request in requests for r in request.recipes):
            made[recipe.digest] = _made(source, recipe)
    return made


def _made(source: Image.Image, recipe: Recipe) -> Image.Image:
    image = source.copy()
    pen = ImageDraw.Draw(image)
    for stroke in recipe.strokes:
        pen.rectangle(stroke.rect, outline=stroke.colour, width=stroke.width)
    if recipe.crop is not None:
        image = image.crop(recipe.crop)
    # Rows, then columns: the order of Pillow before 13 and of the exact route.
    for size in ((recipe.size[0], image.height), recipe.size):
        image = image.resize(size, Image.Resampling.BICUBIC)
    return image


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the three, one after the other."""
    folder = data.large_rows(options.cache_dir, options.rows, options.resolution)
    samples = samples_of(folder)[: options.rows]
    rows = await ready_rows(samples)
    profile = load_profile(options.profile)
    asked = await _asked(rows, profile)

    begun, used = time.perf_counter(), cpu_seconds()
    for ready in rows:
        straightforward(ready, asked[ready.work.sample.id])
    plain, plain_cpu = time.perf_counter() - begun, cpu_seconds() - used

    figures: dict[str, Any] = {
        "rows": options.rows,
        "resolution": options.resolution,
        "straightforward_s": round(plain / len(rows), 4),
        "straightforward_cpu_s": round(plain_cpu / len(rows), 4),
    }
    wanted = {"exact": asked}
    if options.fast:
        wanted["fast"] = await _asked(rows, profile.with_route("fast"))
        # Import its packages before the clock starts.
        await images_alone(samples[:1], wanted["fast"], IMAGE_MEMORY, 1)
    for route, requests in wanted.items():
        used = cpu_seconds()
        seconds = await images_alone(samples, requests, IMAGE_MEMORY, IN_FLIGHT)
        figures[f"{route}_s"] = round(seconds / len(rows), 4)
        figures[f"{route}_cpu_s"] = round((cpu_seconds() - used) / len(rows), 4)
        figures[f"ratio_{route}"] = round(plain / seconds, 2)
    few = rows[: data.ROTATIONS]
    figures |= _compared(few, asked, wanted.get("fast"))
    return figures


async def _asked(rows: Sequence[Ready], profile: Profile) -> Asked:
    answers = Answers(ready.work.sample for ready in rows)
    texts = {
        ready.work.sample.id: [
            answers(Request(ready.work.sample.id, role, (), profile.sampling.for_role(role)))
            for role in ("perceive", "reason")
        ]
        for ready in rows
    }
    return await requests_of(rows, texts, profile)


def _compared(rows: Sequence[Ready], asked: Asked, fast: Asked | None) -> dict[str, Any]:
    """Compare the pixels of the exact and the fast route with the straightforward ones."""
    plain: dict[str, Image.Image] = {}
    for ready in rows:
        plain |= straightforward(ready, asked[ready.work.sample.id])
    exact = ready_made(rows, asked)
    compared: dict[str, Any] = {
        "exact_equal": all(exact[key].tobytes() == image.tobytes() for key, image in plain.items())
    }
    if fast is not None:
        apart = _apart(exact, ready_made(rows, fast), asked, rows)
        compared["fast_most_levels"] = int(apart.max())
        compared["fast_differing"] = round(float((apart > 0).mean()), 5)
    return compared


def _apart(
    exact: Mapping[str, Image.Image],
    fast: Mapping[str, Image.Image],
    asked: Asked,
    rows: Sequence[Ready],
) -> np.ndarray:
    recipes = {
        recipe
        for ready in rows
        for request in asked[ready.work.sample.id]
        for recipe in request.recipes
    }
    return np.concatenate(
        [
            np.abs(
                np.asarray(exact[recipe.digest], dtype=np.int16)
                - np.asarray(fast[replace(recipe, route="fast").digest], dtype=np.int16)
            ).ravel()
            for recipe in recipes
        ]
    )


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--resolution", choices=["4k", "8k"], default="8k")
    parser.add_argument("--profile", default="p2r")
    parser.add_argument(
        "--fast",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure the fast route, which needs torch",
    )
    data.add_option(parser)
    options = parser.parse_args()
    figures = asyncio.run(measure(options))
    lines = [
        (f"{1000 * figures['straightforward_s']:.0f} ms", "a row, the straightforward way"),
        (f"{1000 * figures['exact_s']:.0f} ms", f"exact: {figures['ratio_exact']:.1f} × faster"),
    ]
    if options.fast:
        lines += [
            (f"{1000 * figures['fast_s']:.0f} ms", f"fast: {figures['ratio_fast']:.1f} × faster"),
            (f"{100 * figures['fast_differing']:.2f} %", "of the values differ on the fast route"),
            (f"{figures['fast_most_levels']}", "levels of 255 at most"),
        ]
    lines.append((str(figures["exact_equal"]), "exact gives the straightforward pixels"))
    emit("images", figures, lines, as_json=options.json)


if __name__ == "__main__":
    main()
