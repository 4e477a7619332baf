"""Pixels of training samples, by sample id: read when needed, rendered by the core."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import cast

from PIL import Image

from p2r_bench.images import EncodedImage, ImageWork
from p2r_bench.tasks.reading import read_image
from p2r_bench.types import Recipe, Request, Sample


class SampleImages:
    """Images of requests about known samples.

    Args:
        samples: The known samples, probed.
        work: Shared pool and byte budget; by default a new one, which `close` closes.
    """

    def __init__(self, samples: Iterable[Sample], work: ImageWork | None = None) -> None:
        self._samples = {sample.id: sample for sample in samples}
        self._own = work is None
        self._work = work or ImageWork()

    @asynccontextmanager
    async def of(self, request: Request) -> AsyncIterator[tuple[Image.Image, ...]]:
        """Hold the images of a request, in order, inside the block.

        Raises:
            ImageError: The source cannot be read.
        """
        async with self.rendered(request.sample_id, request.recipes, request.priority) as images:
            yield images

    @asynccontextmanager
    async def rendered(
        self, sample_id: str, recipes: Sequence[Recipe], priority: int = 0
    ) -> AsyncIterator[tuple[Image.Image, ...]]:
        """Hold the images of recipes of one sample, in order, inside the block."""
        ref = self._samples[sample_id].image
        data = await asyncio.to_thread(read_image, ref)
        prepared = await self._work.prepare(recipes, EncodedImage(ref, data), priority)
        try:
            yield tuple(cast(Sequence[Image.Image], prepared.lend()))
        finally:
            prepared.release()

    def close(self) -> None:
        """Stop the threads; safe to call twice."""
        if self._own:
            self._work.close()
