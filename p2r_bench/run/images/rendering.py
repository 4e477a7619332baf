"""Images of a run: decoded once, rendered once per recipe, in a thread pool, within a byte budget."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from PIL import Image

from p2r_bench.adapter import decode, render
from p2r_bench.adapter.canvas import narrow_width, narrowed, render_narrowed
from p2r_bench.adapter.geometry import upright_size
from p2r_bench.errors import ImageError
from p2r_bench.run.images.cache import Entry, Lease, SizedCache, Wanted
from p2r_bench.run.images.pool import ImagePool
from p2r_bench.run.settings import IMAGE_MEMORY
from p2r_bench.tasks.reading import place
from p2r_bench.types import ImageEncoder, ImageRef, Recipe, Size, WireImage

BYTES_PER_PIXEL = 4
"""Bytes of an RGB pixel in Pillow."""
SMALL_PIXELS = 1 << 20
"""Requests with at most this many pixels, source and results together, are rendered in one job."""


def pixel_bytes(size: Size) -> int:
    """Return the bytes of an RGB image of this size in memory."""
    return BYTES_PER_PIXEL * size[0] * size[1]


@dataclass(frozen=True)
class EncodedImage:
    """A probed source image and its encoded bytes."""

    ref: ImageRef
    data: bytes = field(repr=False)


Sendable = Image.Image | WireImage
"""Pixels, or the output of the engine's encoder."""


class Prepared(Protocol):
    """Images of one request. They occupy the cache until `release`.

    Attributes:
        waited: Seconds until the rendering of the images began.
        worked: Seconds that the rendering of the images took.
    """

    waited: float
    worked: float

    def lend(self) -> Sequence[Sendable]:
        """Return the images, in the order of the recipes; call it once."""

    def release(self) -> None:
        """Free their room in the cache; safe to call twice."""


class RowImages(Protocol):
    """The images of one sample's requests."""

    async def prepare(
        self, recipes: Sequence[Recipe], priority: int = 0, encoder: ImageEncoder | None = None
    ) -> Prepared:
        """Return the images of a request. Lower priorities are served first.

        Args:
            encoder: The engine's encoder, if it has one.

        Raises:
            ImageError: The source cannot be read.
        """


class ImageWork:
    """Renderer of images for samples that share sources and recipes.

    A source is decoded once and stays cached, room permitting, while one of its rows is in progress. The same holds for
    its reduction to the width of a whole image (`adapter.canvas`). Of the budget, three eighths are for decoded
    sources, half is for rendered images, and one eighth is for encoded sources, a limit on the samples in flight
    (`run.schedule.limiter`). Sources may also use the room that rendered images leave. Rendering needs up to two
    further sources per thread.

    Args:
        budget: Bytes of images held at once. A larger image is still rendered, alone.
        workers: Threads; Pillow releases the interpreter lock.

    Attributes:
        counts: Numbers of images sent to engines ("sent"), rendered ("made"), and decoded ("decoded").
    """

    def __init__(self, budget: int = IMAGE_MEMORY, workers: int | None = None) -> None:
        self._pool = ImagePool(workers or os.cpu_count() or 1)
        self._rendered: SizedCache[Sendable] = SizedCache(budget // 2, idle=budget // 16)
        # Rows return to their sources in the order in which they first came: the newest is needed last.
        self._sources: SizedCache[Image.Image] = SizedCache(
            budget * 3 // 8, idle=budget * 3 // 8, spare=self._unused_by_rendered, evict_newest=True
        )
        self._watched: dict[str, weakref.ref[EncodedImage]] = {}
        self.budget = budget
        self.encoded_bytes = budget // 8
        self.counts = {"sent": 0, "made": 0, "decoded": 0}

    def _unused_by_rendered(self) -> int:
        """Return the bytes of the rendered images' share that are neither leased nor reserved for idle entries."""
        return max(0, self.budget * 7 // 16 - self._rendered.held)

    def of(self, source: EncodedImage) -> RowImages:
        """Return the images of a sample with this source."""
        return _SharedImages(self, source)

    def close(self) -> None:
        """Finish the work that has begun, stop the threads and free the images."""
        self._pool.close()
        self._sources.clear()
        self._rendered.clear()

    async def prepare(
        self,
        recipes: Sequence[Recipe],
        source: EncodedImage,
        priority: int = 0,
        encoder: ImageEncoder | None = None,
    ) -> Prepared:
        """See `RowImages.prepare`."""
        begun = time.perf_counter()
        self.counts["sent"] += len(recipes)
        form = "" if encoder is None else f":{encoder.name}"
        # Encoded images get the room of their pixels until their size is known.
        wanted = [Wanted(r.digest + form, pixel_bytes(r.size)) for r in recipes]
        lease = self._rendered.take(wanted) or await self._rendered.wait(wanted, priority)
        self._sources.make_room()
        started = time.perf_counter()
        try:
            await self._fill(lease, recipes, source, priority, encoder)
            images = [entry.value for entry in lease.entries]
        except BaseException:
            lease.release()
            raise
        return _Shared(images, lease, started - begun, time.perf_counter() - started)

    async def _fill(
        self,
        lease: Lease[Sendable],
        recipes: Sequence[Recipe],
        source: EncodedImage,
        priority: int,
        encoder: ImageEncoder | None,
    ) -> None:
        todo = {e.key: (e, r) for e, r in zip(lease.entries, recipes, strict=True) if not e.begun}
        if todo and _small(source, [recipe for _, recipe in todo.values()]):
            self._make_together(list(todo.values()), source, priority, encoder)
        else:
            for entry, recipe in todo.values():
                entry.begin(asyncio.create_task(self._make(recipe, source, priority, encoder)))
        for entry in lease.entries:
            made = await entry.ready()
            if isinstance(made, WireImage):
                self._rendered.shrink(entry, len(made.data))

    def _make_together(
        self,
        todo: Sequence[tuple[Entry[Sendable], Recipe]],
        source: EncodedImage,
        priority: int,
        encoder: ImageEncoder | None,
    ) -> None:
        """Render small images in one job: a switch of threads takes as long as rendering one."""
        recipes = [recipe for _, recipe in todo]
        key = _source_key(recipes[0])
        kept = self._sources.peek(key)

        def work() -> list[Any]:
            decoded = kept or decoded_source(recipes[0], source)
            return [*(rendered(recipe, decoded, encoder) for recipe in recipes), decoded]

        job = self._pool.submit(work, priority)
        for part, (entry, _) in enumerate(todo):
            entry.begin(job, part)
        self.counts["made"] += len(todo)
        if kept is None:
            self.counts["decoded"] += 1
            job.add_done_callback(lambda _: self._keep(key, source, job))

    def _keep(self, key: str, source: EncodedImage, job: asyncio.Future[list[Any]]) -> None:
        if not job.cancelled() and job.exception() is None:
            decoded = job.result()[-1]
            self._sources.keep(Wanted(key, pixel_bytes(decoded.size)), decoded)
            self._drop_after(source, key)

    def _drop_after(self, source: EncodedImage, key: str) -> None:
        """Evict a source once its last row has finished."""
        loop, thread = asyncio.get_running_loop(), threading.get_ident()

        def drop(gone: weakref.ref[EncodedImage]) -> None:
            if self._watched.get(key) is gone:
                del self._watched[key]
            if not loop.is_closed():
                here = threading.get_ident() == thread
                (loop.call_soon if here else loop.call_soon_threadsafe)(self._sources.drop, key)

        self._watched[key] = weakref.ref(source, drop)

    async def _make(
        self, recipe: Recipe, source: EncodedImage, priority: int, encoder: ImageEncoder | None
    ) -> Sendable:
        key, size = _source_key(recipe), upright_size(source.ref, recipe.exif)
        wanted = [Wanted(key, pixel_bytes(size))]
        width = narrow_width(recipe, size)
        if width is not None:
            wanted.append(Wanted(f"{key}:{width}", pixel_bytes((width, size[1]))))
        lease = self._sources.take(wanted) or await self._sources.wait(wanted, priority)
        try:
            self.counts["decoded"] += not lease.entries[0].begun
            decoded = await self._computed(
                lease.entries[0], lambda: decoded_source(recipe, source), source, priority
            )
            self.counts["made"] += 1
            if width is None:  # a crop, or a route without shared steps
                return await self._pool.submit(lambda: rendered(recipe, decoded, encoder), priority)
            narrow = await self._computed(
                lease.entries[1], lambda: narrowed(decoded, width), source, priority
            )
            return await self._pool.submit(
                lambda: rendered(recipe, decoded, encoder, narrow), priority
            )
        finally:
            lease.release(spent=priority < 0)

    async def _computed(
        self,
        entry: Entry[Image.Image],
        make: Callable[[], Image.Image],
        source: EncodedImage,
        priority: int,
    ) -> Image.Image:
        """Return the entry's value, computing it unless that is already in progress."""
        if not entry.begun:
            entry.begin(self._pool.submit(make, priority))
            self._drop_after(source, entry.key)
        return await entry.ready()


@dataclass(frozen=True)
class _SharedImages:
    _work: ImageWork
    _source: EncodedImage

    async def prepare(
        self, recipes: Sequence[Recipe], priority: int = 0, encoder: ImageEncoder | None = None
    ) -> Prepared:
        return await self._work.prepare(recipes, self._source, priority, encoder)


class _WeakList(list[Sendable]):
    """A list that, unlike a plain one, can have weak references."""


class _Shared:
    """Images of one request, shared with other requests. The lease ends when the engine drops the list."""

    def __init__(
        self, images: list[Sendable], lease: Lease[Sendable], waited: float, worked: float
    ) -> None:
        self.waited = waited
        self.worked = worked
        self._images = images
        self._lease = lease
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._lent: weakref.ref[_WeakList] | None = None

    def lend(self) -> Sequence[Sendable]:
        lent = _WeakList(self._images)
        self._images = []
        self._lent = weakref.ref(lent, self._dropped)
        return lent

    def release(self) -> None:
        self._images = []
        self._lent = None
        self._lease.release()

    def _dropped(self, _: object) -> None:
        if threading.get_ident() == self._thread:
            self.release()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.release)


def rendered(
    recipe: Recipe,
    source: Image.Image,
    encoder: ImageEncoder | None,
    narrow: Image.Image | None = None,
) -> Sendable:
    """Return the image of a recipe, encoded if there is an encoder.

    Args:
        source: The result of `decode`.
        narrow: The source at the recipe's `narrow_width`, if it has one.
    """
    early = encoder is not None and recipe.lossy_file
    if narrow is None:
        image = render(recipe, source, before_transport=early)
    else:
        image = render_narrowed(recipe, source, narrow, before_transport=early)
    return image if encoder is None else encoder.encode(recipe, image)


def _source_key(recipe: Recipe) -> str:
    return f"{recipe.source}:{recipe.exif}:{recipe.alpha}"


def decoded_source(recipe: Recipe, source: EncodedImage) -> Image.Image:
    """Return the pixels of a recipe's source.

    Raises:
        ImageError: The source cannot be decoded, or its size is not the recipe's.
    """
    try:
        image = decode(source.data, exif=recipe.exif, alpha=recipe.alpha)
    except ImageError as error:
        raise ImageError(f"{place(source.ref)}: {error}") from error
    expected = upright_size(source.ref, recipe.exif)
    if image.size != expected:
        raise ImageError(
            f"{place(source.ref)}: the file's header says {expected[0]}×{expected[1]} pixels, "
            f"but it holds {image.width}×{image.height}"
        )
    return image


def _small(source: EncodedImage, recipes: Sequence[Recipe]) -> bool:
    width, height = source.ref.size or (0, 0)
    pixels = width * height + sum(recipe.size[0] * recipe.size[1] for recipe in recipes)
    return pixels <= SMALL_PIXELS and len({_source_key(recipe) for recipe in recipes}) == 1
