"""The barrier schedule of the published evaluation, as a baseline for timings.

The answers equal the pipeline's; the order of work and the sharing of images differ.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from PIL import Image

from p2r_bench.errors import UserError
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.images.prefetch import Ready, Todo, Work, read_ahead
from p2r_bench.run.images.rendering import (
    EncodedImage,
    Prepared,
    RowImages,
    Sendable,
    decoded_source,
    pixel_bytes,
    rendered,
)
from p2r_bench.run.resolve import Resolved
from p2r_bench.run.schedule.launcher import LocalLauncher
from p2r_bench.run.schedule.launchers import Launchers
from p2r_bench.run.schedule.pipeline import Pipeline, first_error
from p2r_bench.store.identity import RunIdentity
from p2r_bench.types import ErrorInfo, ImageEncoder, Judge, Recipe

BATCH = 256
"""Rows of a batch, as in the published evaluation."""


class BarrierLaunchers(Launchers):
    """Launchers for `AsyncSession` whose runs wait at a barrier after each stage."""

    def __init__(self, engines: EngineSet) -> None:
        super().__init__(engines)
        self._own = engines

    async def of(
        self, resolved: Resolved, identity: RunIdentity, judges: Sequence[Judge]
    ) -> LocalLauncher:
        """See `Launchers.of`."""
        return LocalLauncher(
            resolved.spec,
            resolved.mode,
            resolved.profile,
            resolved.choices,
            judges,
            self._own,
            pipeline=BarrierPipeline,
        )


class BarrierPipeline(Pipeline):
    """Pipeline over one batch of rows after the other, in steps that all its rows take together.

    A call waits until every sample of the batch waits or has finished. Then one thread prepares the images of all
    waiting calls, in the order of the rows. When the last is ready, all calls go to the engine at once. Each row
    decodes and resizes for itself. For a mode with two calls the order is: prepare all, perceive all, draw all, reason
    all.
    """

    async def run(self, todo: Todo) -> None:
        """See `Pipeline.run`. Rows are taken in the dataset's order."""
        assert isinstance(todo, Iterable)
        todo = sorted(todo, key=lambda work: (work.index, work.repeat))
        try:
            with ThreadPoolExecutor(1, thread_name_prefix="p2r-images") as thread:
                async with aclosing(read_ahead(todo)) as rows:
                    batch: list[Ready] = []
                    async for ready in rows:
                        batch.append(ready)
                        if len(batch) == BATCH:
                            await self._batch(batch, thread)
                            batch = []
                    await self._batch(batch, thread)
        except* UserError as errors:
            raise first_error(errors) from None

    async def _batch(self, batch: Sequence[Ready], thread: ThreadPoolExecutor) -> None:
        barrier = Barrier(thread, self._images.budget, self._images.counts)
        rows = [
            barrier.enter(r.image) if isinstance(r.image, EncodedImage) else r.image for r in batch
        ]
        try:
            async with asyncio.TaskGroup() as group:
                for ready, images in zip(batch, rows, strict=True):
                    group.create_task(self._one_of_batch(ready.work, images, barrier))
        finally:
            barrier.close()

    async def _one_of_batch(
        self, work: Work, images: RowImages | ErrorInfo, barrier: Barrier
    ) -> None:
        try:
            outcome = await self.outcome(work, images)
        finally:
            barrier.leave(images)
        await self.write(outcome)


class Barrier:
    """Barrier for the calls of a batch.

    Args:
        thread: Executor that prepares images.
        budget: Bytes of decoded images that rows keep from one call to the next. The published code keeps all of
            them; a row beyond the budget decodes again.
        counts: See `ImageWork`.
    """

    def __init__(self, thread: ThreadPoolExecutor, budget: int, counts: dict[str, int]) -> None:
        self.counts = counts
        self._thread = thread
        self._room = budget
        self._rows: list[_Row] = []
        self._releasing: asyncio.Task[None] | None = None

    def enter(self, source: EncodedImage) -> RowImages:
        """Add a sample of the batch and return its images. All enter before the first call."""
        row = _Row(self, source)
        self._rows.append(row)
        return row

    def leave(self, images: RowImages | ErrorInfo) -> None:
        """Remove a finished sample; others are ignored."""
        if isinstance(images, _Row):
            self._rows.remove(images)
            if images.kept is not None:
                self._room += pixel_bytes(images.kept[1].size)
                images.kept = None
            self.look()

    def look(self) -> None:
        """Check if all samples wait, once no task can run."""
        asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        waiting = bool(self._rows) and all(row.waiting and not row.running for row in self._rows)
        if waiting and self._releasing is None:
            self._releasing = asyncio.create_task(self._release())

    async def _release(self) -> None:
        calls = [call for row in self._rows for call in row.waiting]
        for call in calls:
            await call.prepare(self._thread)
        self._releasing = None
        for call in calls:
            call.go()

    def close(self) -> None:
        """Stop the preparation of images for cancelled calls."""
        if self._releasing is not None:
            self._releasing.cancel()

    def keep(self, row: _Row, policy: tuple[str, str], decoded: Image.Image) -> None:
        """Keep a row's decoded image, if there is room."""
        size = pixel_bytes(decoded.size)
        if row.kept is None and size <= self._room:
            self._room -= size
            row.kept = (policy, decoded)


class _Row:
    """One sample of a batch.

    Attributes:
        waiting: Calls at the barrier; `running`: number of calls in the engine.
        kept: The decoded source with its decoding policy.
    """

    def __init__(self, barrier: Barrier, source: EncodedImage) -> None:
        self.barrier = barrier
        self.source = source
        self.waiting: list[_Call] = []
        self.running = 0
        self.kept: tuple[tuple[str, str], Image.Image] | None = None

    async def prepare(
        self, recipes: Sequence[Recipe], priority: int = 0, encoder: ImageEncoder | None = None
    ) -> Prepared:
        """See `RowImages.prepare`; returns when the barrier opens."""
        self.barrier.counts["sent"] += len(recipes)
        call = _Call(self, recipes, encoder)
        self.waiting.append(call)
        self.barrier.look()
        await call.released()
        return call

    def rendered(self, recipes: Sequence[Recipe], encoder: ImageEncoder | None) -> list[Sendable]:
        """Return the images of a call, made from the row's own source alone."""
        images = []
        for recipe in recipes:
            policy = (recipe.exif, recipe.alpha)
            if self.kept is not None and self.kept[0] == policy:
                decoded = self.kept[1]
            else:
                self.barrier.counts["decoded"] += 1
                decoded = decoded_source(recipe, self.source)
                self.barrier.keep(self, policy, decoded)
            self.barrier.counts["made"] += 1
            images.append(rendered(recipe, decoded, encoder))
        return images


class _Call:
    """One call at the barrier, and its images."""

    def __init__(self, row: _Row, recipes: Sequence[Recipe], encoder: ImageEncoder | None) -> None:
        self.waited = 0.0
        self.worked = 0.0
        self._row = row
        self._recipes = recipes
        self._encoder = encoder
        self._begun = time.perf_counter()
        self._images: list[Sendable] = []
        self._failure: Exception | None = None
        self._go: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running = False

    async def prepare(self, thread: ThreadPoolExecutor) -> None:
        started = time.perf_counter()
        loop = asyncio.get_running_loop()
        try:
            self._images = await loop.run_in_executor(
                thread, self._row.rendered, self._recipes, self._encoder
            )
        except Exception as error:  # noqa: BLE001 - it belongs to the call that waits
            self._failure = error
        self.worked = time.perf_counter() - started

    def go(self) -> None:
        """Release the call."""
        if not self._go.done():
            self._go.set_result(None)

    async def released(self) -> None:
        """Wait for `go`; raise the error of preparing the images, if any."""
        try:
            await self._go
        finally:
            self._row.waiting.remove(self)
        self.waited = time.perf_counter() - self._begun - self.worked
        if self._failure is not None:
            self._row.barrier.look()
            raise self._failure
        self._running = True
        self._row.running += 1

    def lend(self) -> Sequence[Sendable]:
        images, self._images = self._images, []
        return images

    def release(self) -> None:
        if self._running:
            self._running = False
            self._row.running -= 1
            self._row.barrier.look()
