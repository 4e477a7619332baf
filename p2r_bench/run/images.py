"""Image work of a run: decoded once, realised once per recipe, in a pool, within a byte budget."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from p2r_bench.adapter import decode, realise
from p2r_bench.run.budget import Budget
from p2r_bench.types import ImageRef, Recipe

Make = Callable[[], Coroutine[Any, Any, Image.Image]]

CHANNELS = 3
DEFAULT_BUDGET = 1 << 30
"""Bytes of pixels held at once by default: 1 GiB."""


@dataclass(frozen=True)
class EncodedImage:
    """A probed source image and its encoded bytes."""

    ref: ImageRef
    data: bytes = field(repr=False)


class ImageWork:
    """Makes the images of requests.

    A source is decoded once while somebody needs it and kept after that while there is room; so is a
    realised image. Half of the budget is for decoded sources, a quarter for images that requests hold
    until their engine has answered, a quarter for realised images worth keeping.

    Args:
        budget: Bytes of pixels held at once. One image larger than that is still worked on, alone.
        workers: Threads; Pillow works outside the interpreter lock.
    """

    def __init__(self, budget: int = DEFAULT_BUDGET, workers: int | None = None) -> None:
        workers = workers or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="p2r-images")
        self._threads = Budget(workers)
        self._sent = Budget(budget // 4)
        self._sources = _Shelf(budget // 2)
        self._realised = _Shelf(budget // 4)

    @asynccontextmanager
    async def realised(
        self, recipes: Sequence[Recipe], source: EncodedImage, priority: int = 0
    ) -> AsyncIterator[tuple[Image.Image, ...]]:
        """The images of a request, in order, held against the budget for the length of the block.

        Raises:
            ImageError: The source cannot be read.
        """
        share = sum(CHANNELS * w * h for w, h in (r.size for r in recipes))
        async with self._sent.hold(share, priority):
            images = await asyncio.gather(*(self._image(r, source, priority) for r in recipes))
            yield tuple(images)

    def close(self) -> None:
        """Stop the threads; work that has begun is finished."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _image(self, recipe: Recipe, source: EncodedImage, priority: int) -> Image.Image:
        async def make() -> Image.Image:
            async with self._source(recipe, source, priority) as decoded:
                return await self._in_pool(lambda: realise(recipe, decoded), priority)

        width, height = recipe.size
        async with self._realised.use(recipe.digest, CHANNELS * width * height, make) as image:
            return image

    @asynccontextmanager
    async def _source(
        self, recipe: Recipe, source: EncodedImage, priority: int
    ) -> AsyncIterator[Image.Image]:
        async def make() -> Image.Image:
            return await self._in_pool(
                lambda: decode(source.data, exif=recipe.exif, alpha=recipe.alpha), priority
            )

        width, height = source.ref.size or (0, 0)
        key = f"{recipe.source}:{recipe.exif}:{recipe.alpha}"
        async with self._sources.use(key, CHANNELS * width * height, make) as decoded:
            yield decoded

    async def _in_pool(self, work: Callable[[], Image.Image], priority: int) -> Image.Image:
        async with self._threads.hold(1, priority):
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)


@dataclass
class _Entry:
    size: int
    image: asyncio.Task[Image.Image]
    users: int = 0


class _Shelf:
    """Images by key, each made once at a time; unused ones make room, oldest first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held = 0
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._waiting: list[asyncio.Future[None]] = []

    @asynccontextmanager
    async def use(self, key: str, size: int, make: Make) -> AsyncIterator[Image.Image]:
        """The image of a key, made by the first caller; it stays at least for the length of the block."""
        while (entry := self._claim(key, size, make)) is None:
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(room)
            await room
        try:
            yield await asyncio.shield(entry.image)
        finally:
            entry.users -= 1
            self._settle(key, entry)

    def _claim(self, key: str, size: int, make: Make) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            self._make_room(size)
            if self._held and self._held + size > self._capacity:
                return None
            entry = self._entries[key] = _Entry(size, asyncio.create_task(make()))
            self._held += size
        self._entries.move_to_end(key)
        entry.users += 1
        return entry

    def _settle(self, key: str, entry: _Entry) -> None:
        """Forget an image that could not be made or that nobody waits for any more; wake who waits for room."""
        abandoned = entry.users == 0 and not entry.image.done()
        if abandoned:
            entry.image.cancel()
        failed = entry.image.done() and (
            entry.image.cancelled() or entry.image.exception() is not None
        )
        if (abandoned or failed) and self._entries.get(key) is entry:
            self._drop(key)
        waiting, self._waiting = self._waiting, []
        for room in waiting:
            if not room.done():
                room.set_result(None)

    def _make_room(self, size: int) -> None:
        for key in [key for key, entry in self._entries.items() if entry.users == 0]:
            if self._held + size <= self._capacity:
                return
            self._drop(key)

    def _drop(self, key: str) -> None:
        self._held -= self._entries.pop(key).size
