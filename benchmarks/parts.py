"""The parts of a run measured separately: the engine alone, and the images alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing

from PIL import Image

from p2r_bench.adapter import Profile, decode, render
from p2r_bench.modes.p2r import P2R
from p2r_bench.run.images.prefetch import Ready, Work, read_ahead
from p2r_bench.run.images.rendering import EncodedImage, ImageWork
from p2r_bench.run.schedule.order import near_each_other
from p2r_bench.run.schedule.seeds import CallSeeds
from p2r_bench.types import Completion, Engine, Request, Sample

Asked = Mapping[str, Sequence[Request]]
"""Requests of each sample, in order, by id."""


async def ready_rows(samples: Sequence[Sample]) -> list[Ready]:
    """Return rows with their encoded images, in the order in which a run begins them."""
    work = near_each_other(Work(index, sample) for index, sample in enumerate(samples))
    async with aclosing(read_ahead(work)) as rows:
        return [ready async for ready in rows]


async def requests_of(
    rows: Sequence[Ready], texts: Mapping[str, Sequence[str]], profile: Profile
) -> Asked:
    """Return the requests of a run, from its texts."""
    asked: dict[str, list[Request]] = {}
    for ready in rows:
        sample, seeds = ready.work.sample, CallSeeds(0, 0)
        coming, requests = iter(texts[sample.id]), asked.setdefault(sample.id, [])

        async def ask(
            request: Request,
            seeds: CallSeeds = seeds,
            coming: Iterator[str] = coming,
            requests: list[Request] = requests,
        ) -> Completion:
            requests.append(seeds.seeded(request))
            return Completion(next(coming))

        await P2R().solve(sample, ask, profile)
    return asked


async def engine_alone(engine: Engine, asked: Asked, images: Mapping[str, Image.Image]) -> float:
    """Return the seconds that the engine needs for all requests of a run, those of a sample one after the other.

    Args:
        images: Images by recipe digest. Missing ones are not sent, which only a sleeping engine accepts.
    """

    async def one(requests: Sequence[Request]) -> None:
        for request in requests:
            made = [images[r.digest] for r in request.recipes if r.digest in images]
            await engine.generate(request, made)

    begun = time.perf_counter()
    await asyncio.gather(*(one(requests) for requests in asked.values()))
    return time.perf_counter() - begun


async def images_alone(
    samples: Sequence[Sample], asked: Asked, budget: int, in_flight: int
) -> float:
    """Return the seconds of reading rows and rendering their images, with the run's own pool and no engine."""
    images = ImageWork(budget)
    places = asyncio.Semaphore(in_flight)

    async def one(ready: Ready) -> None:
        try:
            assert isinstance(ready.image, EncodedImage), ready.image
            for request in asked[ready.work.sample.id]:
                made = await images.of(ready.image).prepare(request.recipes, request.priority)
                made.release()
        finally:
            places.release()

    begun = time.perf_counter()
    work = near_each_other(Work(index, sample) for index, sample in enumerate(samples))
    try:
        async with asyncio.TaskGroup() as group, aclosing(read_ahead(work)) as rows:
            async for ready in rows:
                await places.acquire()
                group.create_task(one(ready))
    finally:
        await asyncio.to_thread(images.close)
    return time.perf_counter() - begun


def ready_made(rows: Sequence[Ready], asked: Asked) -> dict[str, Image.Image]:
    """Return all images of all requests, by recipe digest."""
    made: dict[str, Image.Image] = {}
    for ready in rows:
        assert isinstance(ready.image, EncodedImage), ready.image
        for recipe in (r for request in asked[ready.work.sample.id] for r in request.recipes):
            if recipe.digest not in made:
                source = decode(ready.image.data, exif=recipe.exif, alpha=recipe.alpha)
                made[recipe.digest] = render(recipe, source)
    return made
