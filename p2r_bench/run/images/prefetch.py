"""Prefetch of samples and their encoded images, in order."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from weakref import WeakValueDictionary

from p2r_bench.errors import ImageError
from p2r_bench.run.images.rendering import EncodedImage
from p2r_bench.tasks.reading import ImageReader, probe
from p2r_bench.types import ErrorInfo, ImageRef, Sample, changed

_BATCH_ROWS = 32
_BATCH_BYTES = 32 << 20


@dataclass(frozen=True)
class Work:
    """One repeat of one sample, and the sample's position in the dataset."""

    index: int
    sample: Sample
    repeat: int = 0


@dataclass(frozen=True)
class Ready:
    """A piece of work with its image, or with the error of reading the image."""

    work: Work
    image: EncodedImage | ErrorInfo


Todo = Iterable[Work] | AsyncIterable[Iterable[Work]]
"""Work known in advance, or arriving in groups."""


async def read_ahead(todo: Todo) -> AsyncGenerator[Ready, None]:
    """Yield work in order with its image read. One thread reads, at most two batches ahead.

    Rows whose images are equal share one `EncodedImage` while any of them is in use.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="p2r-rows")
    batches = _batches(todo, pool)
    coming = asyncio.ensure_future(anext(batches, None))
    try:
        while batch := await coming:
            coming = asyncio.ensure_future(anext(batches, None))
            for ready in batch:
                yield ready
            del batch, ready  # the caller alone decides how long images live
    finally:
        coming.cancel()
        await asyncio.wait([coming])
        await batches.aclose()
        await asyncio.to_thread(pool.shutdown)


async def _batches(todo: Todo, pool: ThreadPoolExecutor) -> AsyncGenerator[list[Ready], None]:
    loop, images = asyncio.get_running_loop(), _Images()
    async for some in todo if isinstance(todo, AsyncIterable) else _at_once(todo):
        reading = map(images.ready, some)
        while batch := await loop.run_in_executor(pool, _batch, reading):
            yield batch


async def _at_once(todo: Iterable[Work]) -> AsyncGenerator[Iterable[Work], None]:
    yield todo


def _batch(reading: Iterator[Ready]) -> list[Ready]:
    batch: list[Ready] = []
    size = 0
    for ready in islice(reading, _BATCH_ROWS):
        batch.append(ready)
        size += len(ready.image.data) if isinstance(ready.image, EncodedImage) else 0
        if size >= _BATCH_BYTES:
            break
    return batch


def _probed(sample: Sample, seen: ImageRef) -> Sample:
    ref = changed(
        sample.image,
        data=None,
        digest=seen.digest,
        size=seen.size,
        orientation=seen.orientation,
    )
    return changed(sample, image=ref, group=sample.group or seen.digest)


class _Images:
    """Reader of images. Equal images share one object while any of them is in use."""

    def __init__(self) -> None:
        self._reader = ImageReader(window_bytes=_BATCH_BYTES)
        self._by_place: WeakValueDictionary[Hashable, EncodedImage] = WeakValueDictionary()
        self._by_digest: WeakValueDictionary[str, EncodedImage] = WeakValueDictionary()

    def ready(self, work: Work) -> Ready:
        """Return the work with its sample probed and its image, or with the error of reading it."""
        try:
            image = self._image(work.sample.image)
        except ImageError as error:
            return Ready(work, ErrorInfo("image", str(error)))
        return Ready(changed(work, sample=_probed(work.sample, image.ref)), image)

    def _image(self, ref: ImageRef) -> EncodedImage:
        if (
            ref.data is not None
        ):  # hashed every time: `id` of bytes is no key, as addresses are reused
            return self._of(ref, self._reader.read(ref))
        place = (ref.path, ref.row, ref.column, ref.encoding)
        image = self._by_place.get(place)
        if image is None:
            image = self._by_place[place] = self._of(ref, self._reader.read(ref))
        return image

    def _of(self, ref: ImageRef, data: bytes) -> EncodedImage:
        digest = hashlib.sha256(data).hexdigest()
        image = self._by_digest.get(digest)
        if image is None:
            seen = probe(ref, data)
            image = self._by_digest[digest] = EncodedImage(replace(seen, data=None), data)
        return image
