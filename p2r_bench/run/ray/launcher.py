"""A run over the replicas of a Ray cluster. Replicas solve samples; the driver judges and writes; Ray restarts
replicas.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.run import environment
from p2r_bench.run.images.prefetch import Todo, Work
from p2r_bench.run.ray.cluster import Cluster, import_ray, one_line
from p2r_bench.run.ray.replica import Job, Key, Ready
from p2r_bench.run.resolve import Resolved
from p2r_bench.run.schedule.circuit_breaker import CircuitBreaker
from p2r_bench.run.schedule.launcher import EngineFacts
from p2r_bench.run.schedule.order import image_key
from p2r_bench.run.schedule.pipeline import Outcome, Record, first_error, judge_all
from p2r_bench.store.identity import RunIdentity, changed_facts
from p2r_bench.types import ErrorInfo, Judge, Prediction

BATCH_ROWS = 16
"""Most rows of one image in one call."""
LOSSES = 3
"""Number of replicas lost while solving a batch, after which the batch is recorded as an error."""
RESTART_WAIT_S = 1.0
NOTICE_S = 60.0
_WRITES_WAITING = 1024

Batch = tuple[Key, ...]
logger = logging.getLogger(__name__)


class RayLauncher:
    """Runs one job on the replicas of a cluster, which outlive it. See `Launcher`.

    Judges run in the driver, so that a verifier has one cache, one limit and one copy of its key.
    """

    def __init__(self, cluster: Cluster, job: Job, judges: Sequence[Judge]) -> None:
        self._cluster = cluster
        self._job = job
        self._judges = judges
        self._ready: dict[int, Ready] = {}
        self._accounts: dict[str, dict[str, Any]] = {}
        self._failures = CircuitBreaker()
        self._losses: Counter[Batch] = Counter()
        self._last_loss = ""

    async def start(self) -> EngineFacts:
        """Start the replicas and compare the facts of their engines. See `Launcher.start`."""
        self._actors = self._cluster.open()
        waiting = (
            "still waiting for replicas: for room in the cluster, or for their engines to start"
        )
        notice = asyncio.get_running_loop().call_later(NOTICE_S, logger.warning, waiting)
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(len(self._actors)):
                    group.create_task(self._begin(number))
        except* UserError as errors:
            raise first_error(errors) from None
        finally:
            notice.cancel()
        return self._ready[0].engines

    async def run(self, todo: Todo, record: Record, *, resumed: bool = False) -> None:
        """See `Launcher.run`."""
        self._failures = CircuitBreaker(succeeded=resumed)
        assert isinstance(todo, Iterable)
        self._work = {(one.index, one.repeat): one for one in todo}
        self._batches = deque(batches_of(self._work.values()))
        self._left = len(self._work)
        self._record, self._writes = record, asyncio.Semaphore(_WRITES_WAITING)
        self._over = asyncio.Event()
        rows = self._left / max(len(self._batches), 1)
        try:
            async with asyncio.TaskGroup() as self._group:
                lanes = [
                    self._group.create_task(self._lane(number))
                    for number in range(len(self._actors))
                    for _ in range(max(round(2 * self._ready[number].in_flight / rows), 1))
                ]
                self._working = len(lanes)
                await self._over.wait()
                for lane in lanes:  # lanes that wait for a restart
                    lane.cancel()
        except* UserError as errors:
            raise first_error(errors) from None
        if self._left:
            raise UserError(
                f"no replica is left: {self._last_loss}. What is recorded is kept; the same command goes on "
                "from there"
            )

    def canaries(self) -> Mapping[str, Any]:
        """Return the canaries' outcomes of one replica, since all replicas have equal engines."""
        return self._ready[0].canaries

    def accounting(self) -> dict[str, Any]:
        """Return the accounting of each process, by host and process id."""
        return {"launcher": "ray", "replicas": self._accounts}

    async def close(self) -> None:
        """Do nothing: the cluster ends the replicas itself."""

    async def _lane(self, number: int) -> None:
        """Send batches to one replica, one at a time, until all rows are done or the replica is dead."""
        errors = import_ray().exceptions
        try:
            while self._left:
                if not self._batches:  # another lane may yet lose its batch
                    await asyncio.sleep(0.1)
                    continue
                batch = self._batches.popleft()
                try:
                    await self._solve(number, batch)
                except errors.RayActorError as error:
                    await self._lose(number, batch, error)
                    while not await self._restarted(number):
                        await asyncio.sleep(RESTART_WAIT_S)
        except errors.ActorDiedError as error:
            logger.warning(
                "replica %s: %s; the run goes on without it", number + 1, one_line(error)
            )
        finally:
            self._working -= 1
            if not self._left or not self._working:
                self._over.set()

    async def _restarted(self, number: int) -> bool:
        try:
            await self._start(number)
        except import_ray().exceptions.ActorUnavailableError:
            return False
        return True

    async def _solve(self, number: int, batch: Batch) -> None:
        actor = self._actors[number]
        ready, outcomes, account = await _call(number, actor.solve.remote(self._job, batch))
        self._accounts[ready.process] = account
        for outcome in outcomes:
            key = (outcome.work.index, outcome.work.repeat)
            if outcome.work.sample.id != self._work[key].sample.id:
                raise UserError(
                    f"replica {number + 1} on {ready.process}: row {key[0]} is {outcome.work.sample.id!r} there "
                    f"and {self._work[key].sample.id!r} here: the task reads the same data in another order"
                )
            await self._write_soon(outcome)

    async def _begin(self, number: int) -> None:
        try:
            await self._start(number)
        except import_ray().exceptions.RayActorError as error:
            reason = f"replica {number + 1} was lost while it started: {one_line(error)}"
            raise UserError(f"{reason}. Install the same p2r-bench on every node") from error

    async def _start(self, number: int) -> None:
        before = self._ready.get(number)
        ready: Ready = await _call(number, self._actors[number].start.remote(self._job))
        self._ready[number] = ready
        if before and before.process != ready.process:
            logger.warning("replica %s was started again on %s", number + 1, ready.process)
            for engine in self._accounts.get(before.process, {}).get("engines", ()):
                engine["capacity"] = 0  # the restarted process counts from zero
        first = next(iter(self._ready.values()))
        changed = changed_facts(first.engines, ready.engines)
        if changed and not self._job.spec.allow_mixed:
            raise UserError(
                f"replica {number + 1} on {ready.process}: its engines differ from those of another replica: "
                f"{'; '.join(changed)}. --allow-mixed lets them differ"
            )

    async def _lose(self, number: int, batch: Batch, error: Exception) -> None:
        where = self._ready[number].process
        self._last_loss = f"replica {number + 1} on {where}: {one_line(error)}"
        logger.warning("%s; its samples go to others, and Ray starts it again", self._last_loss)
        self._losses[batch] += 1
        if self._losses[batch] < LOSSES:
            self._batches.appendleft(batch)
            return
        message = f"replicas were lost {LOSSES} times with this sample; the last: {self._last_loss}"
        for key in batch:
            lost = ErrorInfo("replica_lost", message)
            prediction = Prediction(self._work[key].sample.id, status="error", error=lost)
            await self._write_soon(Outcome(self._work[key], prediction, (), 0.0))

    async def _write_soon(self, outcome: Outcome) -> None:
        self._left -= 1
        self._failures.note(outcome.prediction)
        await self._writes.acquire()
        self._group.create_task(self._judge_and_write(outcome))

    async def _judge_and_write(self, outcome: Outcome) -> None:
        try:
            begun = time.perf_counter()
            verdicts = await judge_all(self._judges, outcome.work.sample, outcome.prediction)
            seconds = outcome.seconds + time.perf_counter() - begun
            await self._record(replace(outcome, verdicts=verdicts, seconds=seconds))
        finally:
            self._writes.release()
        if self._failures.tripped:
            raise self._failures.tripped


async def _call(number: int, reference: Any) -> Any:
    """Await a remote call; raise a replica's UserError with the replica's name."""
    try:
        return await reference
    except import_ray().exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(f"replica {number + 1} {error.cause}") from error
        raise


def job_of(resolved: Resolved, identity: RunIdentity) -> Job:
    """Return a run as it is sent to replicas: with absolute paths, since working directories may differ."""
    spec = resolved.spec
    spec = replace(
        spec,
        choice=replace(spec.choice, model=_absolute(spec.choice.model)),
        roles={role: replace(c, model=_absolute(c.model)) for role, c in spec.roles.items()},
        profile=None,
        data_dir=spec.data_dir and spec.data_dir.absolute(),
    )
    return Job(spec, resolved.profile, identity, environment.versions())


def _absolute(model: str) -> str:
    return str(Path(model).absolute()) if Path(model).is_dir() else model


def batches_of(todo: Iterable[Work]) -> list[Batch]:
    """Group neighbours that share an image, at most 16 together."""
    batches: list[Batch] = []
    for _, group in groupby(todo, key=lambda work: image_key(work.sample)):
        keys = [(work.index, work.repeat) for work in group]
        batches += [tuple(keys[i : i + BATCH_ROWS]) for i in range(0, len(keys), BATCH_ROWS)]
    return batches
