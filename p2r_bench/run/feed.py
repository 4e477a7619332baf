"""Samples with their encoded images, read ahead in dataset order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

from p2r_bench.errors import ImageError
from p2r_bench.run.images import EncodedImage
from p2r_bench.tasks.reading import ImageReader, probe
from p2r_bench.types import ErrorInfo, Sample

_BATCH_ROWS = 32
_BATCH_BYTES = 32 << 20


@dataclass(frozen=True)
class Work:
    """One thing to do: a sample, its place in the dataset, and which repeat."""

    index: int
    sample: Sample
    repeat: int = 0


@dataclass(frozen=True)
class Ready:
    """Work whose image has been read, or why it could not be."""

    work: Work
    image: EncodedImage | ErrorInfo


async def read_ahead(todo: Sequence[Work]) -> AsyncGenerator[Ready, None]:
    """Work in the given order with probed samples; one thread reads, at most two batches ahead."""
    loop = asyncio.get_running_loop()
    reading = _read(todo)
    with ThreadPoolExecutor(1, thread_name_prefix="p2r-rows") as pool:
        coming = loop.run_in_executor(pool, _batch, reading)
        try:
            while batch := await coming:
                coming = loop.run_in_executor(pool, _batch, reading)
                for ready in batch:
                    yield ready
        finally:
            await asyncio.wait([coming])


def _batch(reading: Iterator[Ready]) -> list[Ready]:
    batch: list[Ready] = []
    size = 0
    for ready in islice(reading, _BATCH_ROWS):
        batch.append(ready)
        size += len(ready.image.data) if isinstance(ready.image, EncodedImage) else 0
        if size >= _BATCH_BYTES:
            break
    return batch


def _read(todo: Sequence[Work]) -> Iterator[Ready]:
    last: tuple[str, EncodedImage | ErrorInfo] | None = None
    reader = ImageReader()
    for work in todo:
        if last is None or last[0] != work.sample.id:
            last = (work.sample.id, _read_one(reader, work.sample))
        image = last[1]
        if isinstance(image, EncodedImage):
            sample = replace(
                work.sample,
                image=replace(image.ref, data=None),
                group=work.sample.group or image.ref.digest,
            )
            work = replace(work, sample=sample)
        yield Ready(work, image)


def _read_one(reader: ImageReader, sample: Sample) -> EncodedImage | ErrorInfo:
    try:
        data = reader.read(sample.image)
        return EncodedImage(probe(sample.image, data), data)
    except ImageError as error:
        return ErrorInfo("image", str(error))
