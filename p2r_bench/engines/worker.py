"""The thread that owns the model: forms batches, runs them and delivers their answers."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from p2r_bench.engines.generation import Generator, Row
from p2r_bench.errors import EngineDead, EngineError

log = logging.getLogger(__name__)

SAME_FAILURES = 3
"""Equal failures of the model in a row after which the engine counts as dead."""
LINGER_SECONDS = 0.05
"""Time for which a batch that is not full waits for further requests."""


@dataclass(frozen=True)
class Finished:
    """A row with its output, and the seconds for which it waited and ran."""

    row: Row
    queue_s: float
    engine_s: float


@dataclass(eq=False)
class Job:
    """A row and the future that its caller awaits. Cancelling `future` ends the row."""

    priority: int
    number: int
    row: Row
    future: Future[Finished] = field(default_factory=Future)
    submitted: float = field(default_factory=time.monotonic)


class Worker:
    """Runs rows in a thread of its own, batch after batch.

    A batch starts with the most urgent row, by priority, then arrival. Rows of its priority that are nearest in length
    join first, then those of later priorities. It starts once it is full, or once no request is being prepared and
    none has arrived for `LINGER_SECONDS`.

    Args:
        rows: Most rows of a batch.
        tokens: Most tokens of a batch, prompts, outputs at their longest and padding included.
        prompt_tokens: Most tokens of the prompts of a batch, padding included.
    """

    def __init__(self, generator: Generator, *, rows: int, tokens: int, prompt_tokens: int) -> None:
        self.generator = generator
        self.max_rows = rows
        self.max_tokens = tokens
        self.max_prompt_tokens = prompt_tokens
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        self._preparing = 0
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._closing = False
        self._ended: EngineError | None = None
        self._last_failure = ""
        self._failures = 0
        self._thread = threading.Thread(
            target=self._run, name="p2r-bench-transformers", daemon=True
        )
        self._thread.start()

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """Announce a request: a batch that is not full waits for it."""
        with self._changed:
            self._preparing += 1
        try:
            yield
        finally:
            with self._changed:
                self._preparing -= 1
                self._changed.notify()

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
            self._waiting.append(job)
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Fail all rows that are queued or running, and wait for the thread to end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        """Run batches until the worker is closed or dead, and leave no future pending."""
        end = EngineError("the engine was closed", kind="closed")
        try:
            while (batch := self._next()) is not None:
                self._running = batch
                self._answer(batch)
                self._running = []
        except EngineDead as error:
            end = error
        except BaseException as error:  # noqa: BLE001 - a thread that ends silently leaves callers waiting
            end = EngineDead(f"the engine's thread failed: {error!r}")
            end.__cause__ = error
        finally:
            with self._changed:
                self._ended = end
                left = [*self._waiting, *self._running]
                self._waiting.clear()
            for job in left:
                self._fail(job, end)

    def _next(self) -> list[Job] | None:
        """Wait for a batch and return it, or None once the worker is closed."""
        with self._changed:
            while not self._closing:
                self._waiting = [job for job in self._waiting if not job.future.cancelled()]
                if len(self._waiting) >= self.max_rows or (
                    self._waiting and not self._preparing and not self._changed.wait(LINGER_SECONDS)
                ):
                    return self._take()
                if not self._waiting or self._preparing:
                    self._changed.wait()
            return None

    def _take(self) -> list[Job]:
        """Take a batch off the queue. Called with the lock held."""
        first = min(self._waiting, key=lambda job: (job.priority, job.number))
        near = first.row.prompt.length
        order = sorted(
            (job for job in self._waiting if job.row.prompt.kind == first.row.prompt.kind),
            key=lambda job: (
                job is not first,
                job.priority,
                abs(job.row.prompt.length - near),
                job.number,
            ),
        )
        batch: list[Job] = []
        longest = output = 0
        for job in order[: self.max_rows]:
            longest = max(longest, job.row.prompt.length)
            output = max(output, job.row.sampling.max_tokens)
            rows = len(batch) + 1
            if batch and (
                rows * longest > self.max_prompt_tokens
                or rows * (longest + output) > self.max_tokens
            ):
                break
            batch.append(job)
        self._waiting = [job for job in self._waiting if job not in batch]
        return sorted(batch, key=lambda job: job.row.prompt.length)

    def _answer(self, batch: Sequence[Job]) -> None:
        started = time.monotonic()
        jobs = {job.row: job for job in batch}
        try:
            self.generator.run(
                list(jobs), lambda row: self._closing or jobs[row].future.cancelled()
            )
            self._failures = 0
        except torch.OutOfMemoryError as error:
            self._shrink(batch, error)
            return
        except Exception as error:  # noqa: BLE001 - whatever the model raises belongs to its rows
            self._count_failure(error)
            for job in batch:
                failure = EngineError(f"the model failed: {error!r}", kind="model")
                self._fail(job, failure, cause=error)
            return
        for job in batch:
            self._deliver(job, started)

    def _count_failure(self, error: Exception) -> None:
        """Free the device's memory after a failure of the model.

        Raises:
            EngineDead: The device fails as well, or the same failure came `SAME_FAILURES` times in a row.
        """
        try:
            self._free_memory()
        except Exception as of_device:
            raise EngineDead(
                f"{self.generator.device} fails after an error of the model: {error!r}"
            ) from of_device
        self._failures = self._failures + 1 if repr(error) == self._last_failure else 1
        self._last_failure = repr(error)
        if self._failures == SAME_FAILURES:
            raise EngineDead(
                f"the model failed {SAME_FAILURES} times in a row: {error!r}"
            ) from error

    def _shrink(self, batch: Sequence[Job], error: Exception) -> None:
        """Return the rows of a batch that ran out of memory to the queue, in halves. A batch of one row fails."""
        self._free_memory()
        device = self.generator.device
        if len(batch) == 1:
            message = f"out of memory on {device} with this request alone: {error}"
            failure = EngineError(message, kind="out_of_memory", retryable=False)
            self._fail(batch[0], failure, cause=error)
            return
        self.max_rows = max(1, len(batch) // 2)
        log.warning(
            "%s is out of memory with %d rows; continuing with at most %d (--engine-arg batch_size=%d)",
            *(device, len(batch), self.max_rows, self.max_rows),
        )
        with self._changed:
            self._waiting.extend(batch)

    def _free_memory(self) -> None:
        """Free the device's memory. Raises the device's error if the device no longer works."""
        if self.generator.device.type == "cuda":
            torch.cuda.synchronize(self.generator.device)
            torch.cuda.empty_cache()

    def _deliver(self, job: Job, started: float) -> None:
        if job.row.finish == "nan":
            message = "the model's outputs are not numbers; try --engine-arg dtype=float32"
            self._fail(job, EngineError(message, kind="nan", retryable=False))
        elif job.row.finish == "cancelled":
            self._fail(job, EngineError("the engine was closed", kind="closed"))
        else:
            finished = Finished(job.row, started - job.submitted, time.monotonic() - started)
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
