"""The pipeline: samples flow through image work, the mode, the judges and the journal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from p2r_bench.errors import UserError
from p2r_bench.judges.select import applicable
from p2r_bench.judges.verdicts import verdict_of
from p2r_bench.run.images.prefetch import Ready, Todo, Work, read_ahead
from p2r_bench.run.images.rendering import EncodedImage, ImageWork, RowImages
from p2r_bench.run.schedule.circuit_breaker import CircuitBreaker
from p2r_bench.run.schedule.limiter import Limiter
from p2r_bench.run.schedule.solving import Solver
from p2r_bench.types import ErrorInfo, Judge, Prediction, Sample, Verdict, changed


@dataclass(frozen=True)
class Outcome:
    """Prediction and verdicts of one piece of work, and the seconds from its start to its verdicts."""

    work: Work
    prediction: Prediction
    verdicts: Sequence[Verdict]
    seconds: float


Record = Callable[[Outcome], Awaitable[None]]

_WRITES_WAITING = 256


class Pipeline:
    """Solving, judging and recording of work, with no barrier between samples or stages.

    The next sample begins once a sample has its verdicts; writing continues in the background.

    Args:
        in_flight: Samples in progress at once; fewer when their encoded images take too much room.
        failures: Circuit breaker; None for one with the default limit.
    """

    def __init__(
        self,
        solver: Solver,
        judges: Sequence[Judge],
        images: ImageWork,
        record: Record,
        in_flight: int,
        failures: CircuitBreaker | None = None,
    ) -> None:
        self._solver = solver
        self._judges = judges
        self._images = images
        self._record = record
        self._limiter = Limiter(in_flight, images.encoded_bytes)
        self._writes = asyncio.Semaphore(_WRITES_WAITING)
        self._failures = failures or CircuitBreaker()

    async def run(self, todo: Todo) -> None:
        """Do all work. Cancelling stops at once; recorded outcomes are kept.

        Raises:
            UserError: A failed write, a plugin that broke its contract, or an engine that fails all samples.
        """
        try:
            async with asyncio.TaskGroup() as group, aclosing(read_ahead(todo)) as rows:
                async for ready in rows:
                    await self._limiter.enter(ready.image)
                    if self._failures.tripped:
                        break
                    group.create_task(self._one(ready))
                    del ready  # its users hold the image
        except* UserError as errors:
            raise first_error(errors) from None

    async def _one(self, ready: Ready) -> None:
        try:
            images = ready.image
            if isinstance(images, EncodedImage):
                outcome = await self.outcome(ready.work, self._images.of(images))
            else:
                outcome = await self.outcome(ready.work, images)
        finally:
            self._limiter.leave(ready.image)
        del ready, images  # writing must not keep the image alive
        await self.write(outcome)

    async def outcome(self, work: Work, images: RowImages | ErrorInfo) -> Outcome:
        """Return the prediction and verdicts of one piece of work."""
        sample, begun = work.sample, time.perf_counter()
        if isinstance(images, ErrorInfo):
            prediction = Prediction(sample.id, status="error", error=images)
        else:
            prediction = await self._solver.solve(sample, images, work.repeat)
        verdicts = await judge_all(self._judges, sample, prediction)
        self._failures.note(prediction)
        return Outcome(work, prediction, verdicts, time.perf_counter() - begun)

    async def write(self, outcome: Outcome) -> None:
        """Record an outcome. Raises UserError when the circuit breaker trips."""
        async with self._writes:
            await self._record(outcome)
        if self._failures.tripped:
            raise self._failures.tripped


async def judge_all(
    judges: Sequence[Judge], sample: Sample, prediction: Prediction
) -> tuple[Verdict, ...]:
    """Return the verdicts of all judges that apply to a prediction with status "ok"; none for other predictions.

    Judges run one after the other: nearly all return at once, and a task for each would cost more.
    """
    if prediction.status != "ok":
        return ()
    verdicts = []
    for judge in applicable(judges, sample):
        begun = time.perf_counter()
        verdict = await verdict_of(judge, sample, prediction)
        verdicts.append(changed(verdict, seconds=time.perf_counter() - begun))
    return tuple(verdicts)


def first_error(errors: BaseExceptionGroup[UserError]) -> UserError:
    """Return the first error of nested exception groups."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, UserError)
    return error
