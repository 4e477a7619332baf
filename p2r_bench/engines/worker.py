"""The thread that owns the model: lets waiting rows in, decodes, and hands out what is done."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

import torch

from p2r_bench.engines.decoding import Batch, Row
from p2r_bench.errors import EngineDead, EngineError

log = logging.getLogger(__name__)

SAME_FAILURES = 3
"""After so many equal failures of the model in a row, with no step that worked in between, the engine counts as dead."""


@dataclass(frozen=True)
class Finished:
    """A row that is done, with the seconds it waited and ran."""

    row: Row
    queue_s: float
    engine_s: float


@dataclass(order=True)
class Job:
    """A row and who waits for it. Cancelling `future` at any time drops the row."""

    priority: int
    number: int
    row: Row = field(compare=False)
    future: Future[Finished] = field(compare=False, default_factory=Future)
    submitted: float = field(compare=False, default_factory=time.monotonic)
    started: float = field(compare=False, default=0.0)


class Worker:
    """Runs a batch in a thread of its own.

    Rows wait in order of priority, then arrival. While others run, new ones are let in once they are at
    least a quarter as many, so that prompts are read several at a time; nothing ever waits for a
    request that has not arrived. Prompts of similar length are read together.

    Args:
        rows: Most rows that decode together.
        tokens: Most tokens, prompts and outputs at their longest, of all rows that decode together.
        prefill_tokens: Most tokens of prompts, padding included, that are read at once.
    """

    def __init__(self, batch: Batch, *, rows: int, tokens: int, prefill_tokens: int) -> None:
        self.batch = batch
        self.max_rows = rows
        self.max_tokens = tokens
        self.prefill_tokens = prefill_tokens
        self._waiting: list[Job] = []
        self._running: dict[Row, Job] = {}
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._closing = False
        self._ended: EngineError | None = None
        self._involved: list[Job] = []
        self._last_failure = ""
        self._failures = 0
        self._thread = threading.Thread(
            target=self._run, name="p2r-bench-transformers", daemon=True
        )
        self._thread.start()

    def submit(self, row: Row, priority: int) -> Future[Finished]:
        """Queue a row. The future raises EngineError when the row cannot be run.

        Raises:
            EngineDead: The model or its device has failed for good.
            EngineError: The engine is closed.
        """
        with self._changed:
            if self._ended is not None:
                raise self._ended
            if self._closing:
                raise EngineError("the engine is closed", kind="closed")
            job = Job(priority, next(self._numbers), row)
            heapq.heappush(self._waiting, job)
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Fail what is queued or running, and wait for the thread to end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        """Work until closed or dead; whatever ends it, no future stays pending."""
        end = EngineError("the engine was closed", kind="closed")
        try:
            while (entering := self._next()) is not None:
                self._advance(entering)
        except EngineDead as error:
            end = error
        except BaseException as error:  # noqa: BLE001 - a thread that ends silently leaves callers waiting
            end = EngineDead(f"the engine's thread failed: {error!r}")
            end.__cause__ = error
        finally:
            self._end(end)

    def _next(self) -> list[Job] | None:
        """Wait until there is work; the jobs that may start now, or None once closed."""
        with self._changed:
            while not (self._waiting or self._running or self._closing):
                self._changed.wait()
            return None if self._closing else self._entering()

    def _end(self, error: EngineError) -> None:
        with self._changed:
            self._ended = error
            left = [*self._waiting, *self._running.values(), *self._involved]
            self._waiting.clear()
        self._running.clear()
        self._involved = []
        self.batch.clear()
        for job in left:
            self._fail(job, error)

    def _entering(self) -> list[Job]:
        """Take the jobs off the queue that may start now. Called with the lock held."""
        self._waiting = [job for job in self._waiting if not job.future.cancelled()]
        heapq.heapify(self._waiting)
        running = len(self._running)
        entering: list[Job] = []
        if len(self._waiting) * 4 < running:
            return entering
        tokens = sum(row.most for row in self._running)
        while self._waiting and running + len(entering) < self.max_rows:
            tokens += self._waiting[0].row.most
            if tokens > self.max_tokens and (running or entering):
                break
            entering.append(heapq.heappop(self._waiting))
        return entering

    def _advance(self, entering: Sequence[Job]) -> None:
        """Let rows in and choose one more token for all that run."""
        self._involved = [*self._running.values(), *entering]
        try:
            self.batch.remove([row for row, job in self._running.items() if job.future.cancelled()])
            self._running = {row: self._running[row] for row in self.batch.rows}
            self._involved = [*self._running.values(), *entering]
            now = time.monotonic()
            for job in entering:
                job.started = now
            for group in prefill_groups(entering, self.prefill_tokens):
                self._running.update({job.row: job for job in group})
                self._deliver(self.batch.add([job.row for job in group]))
            if self._running:
                self._deliver(self.batch.step())
            self._failures = 0
        except torch.OutOfMemoryError as error:
            self._shrink([job for job in self._involved if not job.future.done()], error)
        except Exception as error:  # noqa: BLE001 - whatever the model raises belongs to its rows
            self._count_failure(error)
            for job in self._involved:
                failure = EngineError(f"the model failed: {error!r}", kind="model")
                self._fail(job, failure, cause=error)
        self._involved = []

    def _count_failure(self, error: Exception) -> None:
        """Clear the batch after a failure of the model.

        Raises:
            EngineDead: The device fails as well, or the same failure came too often in a row.
        """
        try:
            self._abandon()
        except Exception as of_device:
            raise EngineDead(
                f"{self.batch.device} fails after an error of the model: {error!r}"
            ) from of_device
        self._failures = self._failures + 1 if repr(error) == self._last_failure else 1
        self._last_failure = repr(error)
        if self._failures == SAME_FAILURES:
            raise EngineDead(
                f"the model failed {SAME_FAILURES} times in a row: {error!r}"
            ) from error

    def _shrink(self, involved: Sequence[Job], error: Exception) -> None:
        """Out of memory: start the rows again, in batches half the size; a row that is too large alone fails."""
        self._abandon()
        if len(involved) == 1:
            message = f"out of memory on {self.batch.device} with this request alone: {error}"
            self._fail(
                involved[0],
                EngineError(message, kind="out_of_memory", retryable=False),
                cause=error,
            )
            return
        self.max_rows = max(1, len(involved) // 2)
        log.warning(
            "%s is out of memory with %d rows; continuing with at most %d (--engine-arg batch_size=%d)",
            self.batch.device,
            len(involved),
            self.max_rows,
            self.max_rows,
        )
        with self._changed:
            for job in involved:
                job.row.restart()
                heapq.heappush(self._waiting, job)

    def _abandon(self) -> None:
        """Clear the batch and free the device's memory; raises what a device in a sticky error state raises."""
        self._running.clear()
        self.batch.clear()
        if self.batch.device.type == "cuda":
            torch.cuda.synchronize(self.batch.device)
            torch.cuda.empty_cache()

    def _deliver(self, rows: Sequence[Row]) -> None:
        now = time.monotonic()
        for row in rows:
            job = self._running.pop(row)
            if row.finish == "nan":
                message = "the model's outputs are not numbers; try --engine-arg dtype=float32"
                self._fail(job, EngineError(message, kind="nan", retryable=False))
                continue
            finished = Finished(row, job.started - job.submitted, now - job.started)
            try:
                job.future.set_result(finished)
            except InvalidStateError:
                log.debug("a cancelled request had just finished")

    @staticmethod
    def _fail(job: Job, error: EngineError, cause: Exception | None = None) -> None:
        error.__cause__ = cause or error.__cause__
        try:
            job.future.set_exception(error)
        except InvalidStateError:
            log.debug("a finished or cancelled request cannot fail any more")


def prefill_groups(jobs: Sequence[Job], tokens: int) -> list[list[Job]]:
    """Jobs whose prompts are read together: neighbours in length, at most `tokens` with padding, at least one."""
    groups: list[list[Job]] = []
    for job in sorted(jobs, key=lambda job: len(job.row.prompt.ids)):
        if groups and len(job.row.prompt.ids) * (len(groups[-1]) + 1) <= tokens:
            groups[-1].append(job)
        else:
            groups.append([job])
    return groups
