"""Images of many requests at once: every source is decoded once for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from p2r_bench.adapter import Canvas, decode
from p2r_bench.errors import ImageError
from p2r_bench.tasks.reading import read_image
from p2r_bench.types import Recipe, Request, Sample

Images = tuple[Image.Image, ...]


class Pictures:
    """Renderer of the images of a step's requests.

    Args:
        samples: Probed samples of the requests, found by id.
        workers: Threads; Pillow works outside the interpreter lock. Each holds one decoded source.
    """

    def __init__(self, samples: Iterable[Sample], workers: int | None = None) -> None:
        self._samples = {sample.id: sample for sample in samples}
        self._pool = ThreadPoolExecutor(workers or os.cpu_count() or 1, "p2r-pictures")

    def of(self, requests: Sequence[Request]) -> list[Images | ImageError]:
        """Return the images of every request, in order; an error where the source cannot be read."""
        by_source: dict[tuple[str, str, str], list[int]] = {}
        for number, request in enumerate(requests):
            for recipe in request.recipes[:1]:
                key = (recipe.source, recipe.exif, recipe.alpha)
                by_source.setdefault(key, []).append(number)
        made: list[Images | ImageError] = [()] * len(requests)
        jobs = [[requests[number] for number in numbers] for numbers in by_source.values()]
        for numbers, images in zip(
            by_source.values(), self._pool.map(self._make, jobs), strict=True
        ):
            for place, number in enumerate(numbers):
                made[number] = images if isinstance(images, ImageError) else images[place]
        return made

    def close(self) -> None:
        """Stop the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _make(self, requests: Sequence[Request]) -> list[Images] | ImageError:
        first = requests[0].recipes[0]
        try:
            data = read_image(self._samples[requests[0].sample_id].image)
            canvas = Canvas(decode(data, exif=first.exif, alpha=first.alpha))
        except ImageError as error:
            return error
        known: dict[str, Image.Image] = {}

        def image(recipe: Recipe) -> Image.Image:
            if recipe.digest not in known:
                known[recipe.digest] = canvas.render(recipe)
            return known[recipe.digest]

        return [tuple(image(recipe) for recipe in request.recipes) for request in requests]
