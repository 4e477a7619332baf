"""Image work of a run: decoded once, realised once per recipe, in a pool, within a byte budget."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from PIL import Image

from p2r_bench.adapter import decode, realise
from p2r_bench.run.budget import Budget
from p2r_bench.run.shelf import Claim, Shelf, Wanted
from p2r_bench.types import ImageRef, Recipe, Size

T = TypeVar("T")

BYTES_PER_PIXEL = 4
"""What Pillow holds of an RGB pixel."""
DEFAULT_BUDGET = 1 << 30
"""Bytes of images held at once by default: 1 GiB."""
INLINE_PIXELS = 1 << 16
"""Requests with no more pixels, source and results together, are done where they are asked for: going to
another thread and back would cost more than the work."""


def pixel_bytes(size: Size) -> int:
    """What an RGB image of this size takes in memory."""
    return BYTES_PER_PIXEL * size[0] * size[1]


@dataclass(frozen=True)
class EncodedImage:
    """A probed source image and its encoded bytes."""

    ref: ImageRef
    data: bytes = field(repr=False)


class Prepared(Protocol):
    """The images of one request, taking room until they are released.

    Attributes:
        waited: Seconds until their making began.
        worked: Seconds from then until they were ready.
    """

    waited: float
    worked: float

    def lend(self) -> Sequence[Image.Image]:
        """The images, in the order of the recipes. May be called once."""

    def release(self) -> None:
        """Give the room back; safe to call twice."""


class RowImages(Protocol):
    """Makes the images of one sample's requests."""

    async def prepare(self, recipes: Sequence[Recipe], priority: int = 0) -> Prepared:
        """The images of a request; lower priorities are served first.

        Raises:
            ImageError: The source cannot be read.
        """


class ImageWork:
    """Makes images for samples that share sources and recipes.

    A source is decoded once while somebody needs it and kept after that while there is room; so is a
    realised image. Of the budget, three eighths are for decoded sources and half for realised images; the
    rest is for encoded ones, which the feed holds back by. Images at work take up to two sources more
    per thread.

    Args:
        budget: Bytes of images held at once. One image larger than that is still worked on, alone.
        workers: Threads; Pillow works outside the interpreter lock.

    Attributes:
        counts: How many images were sent to engines, made for that, and decoded for that.
    """

    def __init__(self, budget: int = DEFAULT_BUDGET, workers: int | None = None) -> None:
        workers = workers or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="p2r-images")
        self._threads = Budget(workers)
        self._sources: Shelf[Image.Image] = Shelf(budget * 3 // 8, idle=budget * 3 // 8)
        self._realised: Shelf[Image.Image] = Shelf(budget // 2, idle=budget // 16)
        self.budget = budget
        self.encoded_bytes = budget // 8
        self.counts = {"sent": 0, "made": 0, "decoded": 0}

    def of(self, source: EncodedImage) -> RowImages:
        """The images of a sample with this source."""
        return _SharedImages(self, source)

    def close(self) -> None:
        """Stop the threads; work that has begun is finished."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def prepare(
        self, recipes: Sequence[Recipe], source: EncodedImage, priority: int = 0
    ) -> Prepared:
        """See `RowImages.prepare`."""
        begun = time.perf_counter()
        self.counts["sent"] += len(recipes)
        wanted = [Wanted(r.digest, pixel_bytes(r.size)) for r in recipes]
        claim = self._realised.take(wanted) or await self._realised.wait(wanted, priority)
        started = time.perf_counter()
        try:
            await self._fill(claim, recipes, source, priority)
            images = [entry.value for entry in claim.entries]
        except BaseException:
            claim.give_back()
            raise
        return _Shared(images, claim, started - begun, time.perf_counter() - started)

    async def _fill(
        self,
        claim: Claim[Image.Image],
        recipes: Sequence[Recipe],
        source: EncodedImage,
        priority: int,
    ) -> None:
        todo = [(e, r) for e, r in zip(claim.entries, recipes, strict=True) if not e.begun]
        if todo and _pixels(source, todo) <= INLINE_PIXELS:
            for entry, recipe in todo:
                if not entry.begun:  # the same recipe may stand twice in a request
                    entry.set(self._realised_now(recipe, source))
        for entry, recipe in todo:
            if not entry.begun:
                entry.begin(self._realised_in_pool(recipe, source, priority))
        for entry in claim.entries:
            await entry.ready()

    def _realised_now(self, recipe: Recipe, source: EncodedImage) -> Image.Image:
        key = _source_key(recipe)
        decoded = self._sources.peek(key)
        if decoded is None:
            self.counts["decoded"] += 1
            decoded = self._decode(recipe, source)
            self._sources.keep(Wanted(key, pixel_bytes(decoded.size)), decoded)
        self.counts["made"] += 1
        return realise(recipe, decoded)

    async def _realised_in_pool(
        self, recipe: Recipe, source: EncodedImage, priority: int
    ) -> Image.Image:
        wanted = [Wanted(_source_key(recipe), pixel_bytes(source.ref.size or (0, 0)))]
        claim = self._sources.take(wanted) or await self._sources.wait(wanted, priority)
        try:
            (entry,) = claim.entries
            if not entry.begun:
                self.counts["decoded"] += 1
                entry.begin(self._in_pool(lambda: self._decode(recipe, source), priority))
            decoded = await entry.ready()
            self.counts["made"] += 1
            return await self._in_pool(lambda: realise(recipe, decoded), priority)
        finally:
            claim.give_back()

    def _decode(self, recipe: Recipe, source: EncodedImage) -> Image.Image:
        return decode(source.data, exif=recipe.exif, alpha=recipe.alpha)

    async def _in_pool(self, work: Callable[[], T], priority: int) -> T:
        async with self._threads.hold(1, priority):
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)


@dataclass(frozen=True)
class _SharedImages:
    _work: ImageWork
    _source: EncodedImage

    async def prepare(self, recipes: Sequence[Recipe], priority: int = 0) -> Prepared:
        return await self._work.prepare(recipes, self._source, priority)


class _Lent(list[Image.Image]):
    """A list that can be watched: unlike plain ones it can have weak references."""


class _Shared:
    """Images that other requests may use as well. Their room is free once the engine lets go of them."""

    def __init__(
        self, images: list[Image.Image], claim: Claim[Image.Image], waited: float, worked: float
    ) -> None:
        self.waited = waited
        self.worked = worked
        self._images = images
        self._claim = claim
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._lent: weakref.ref[_Lent] | None = None

    def lend(self) -> Sequence[Image.Image]:
        lent = _Lent(self._images)
        self._images = []
        self._lent = weakref.ref(lent, self._dropped)
        return lent

    def release(self) -> None:
        self._images = []
        self._lent = None
        self._claim.give_back()

    def _dropped(self, _: object) -> None:
        if threading.get_ident() == self._thread:
            self.release()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.release)


def _source_key(recipe: Recipe) -> str:
    return f"{recipe.source}:{recipe.exif}:{recipe.alpha}"


def _pixels(source: EncodedImage, todo: Sequence[tuple[object, Recipe]]) -> int:
    width, height = source.ref.size or (0, 0)
    return width * height + sum(r.size[0] * r.size[1] for _, r in todo)
