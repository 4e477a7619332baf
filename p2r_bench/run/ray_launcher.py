"""A run over many replicas: work is pulled from here, judged here and written here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.run.feed import Todo, Work
from p2r_bench.run.hopeless import HOPELESS_AFTER, FirstFailures
from p2r_bench.run.launcher import EngineFacts
from p2r_bench.run.order import image_key
from p2r_bench.run.pipeline import Outcome, Record, first_error, judge_all
from p2r_bench.run.ray_accounts import Accounts
from p2r_bench.run.ray_fleet import Fleet, Seat
from p2r_bench.run.ray_handout import HandOut, Key
from p2r_bench.run.ray_messages import Job, ReplicaLost
from p2r_bench.run.resolve import Resolved
from p2r_bench.store.identity import RunIdentity, changed_facts
from p2r_bench.types import ErrorInfo, Judge, Prediction

MOST_IN_A_BUNDLE = 16
"""Rows with the same image that are handed out together; more are cut into several bundles."""
_WRITES_WAITING = 1024

logger = logging.getLogger(__name__)


class RayLauncher:
    """Carries out one run on the replicas of a fleet, which outlive it. See `Launcher`.

    Judges are the driver's: a verifier has one cache, one limit and one place for its key.
    """

    def __init__(self, fleet: Fleet, job: Job, judges: Sequence[Judge]) -> None:
        self._fleet = fleet
        self._job = job
        self._judges = judges
        self._facts: EngineFacts | None = None
        self._accounts = Accounts()

    async def start(self) -> EngineFacts:
        """Start and prepare all replicas; the facts of their engines must be the same. See `Launcher.start`."""
        if self._job.spec.schedule == "barrier":
            raise UserError(
                "--schedule barrier is a baseline for one process: use --launcher local"
            )
        try:
            async with asyncio.TaskGroup() as group:
                for seat in self._fleet.living:
                    group.create_task(self.bring_up(seat))
        except* UserError as errors:
            raise first_error(errors) from None
        assert self._facts is not None
        return self._facts

    async def run(self, todo: Todo, record: Record) -> None:
        """See `Launcher.run`. All the work must be known, so that each replica gets a stretch of it."""
        assert isinstance(todo, Iterable)
        work = {(one.index, one.repeat): one for one in todo}
        if work:
            await _Shift(self, self._fleet, work, self._judges, record, self._accounts).work()

    async def bring_up(self, seat: Seat) -> None:
        """Start, prepare and check one replica.

        Raises:
            UserError: It refuses, was lost too often, or its engines are not what the others' are.
        """
        prepared = await self._fleet.bring_up(seat, self._job)
        if self._facts is None:
            self._facts = prepared.engines
        changed = changed_facts(self._facts, prepared.engines)
        if changed and not self._job.spec.allow_mixed:
            raise UserError(
                f"{seat}: its engines are not like those of the replica before it: {'; '.join(changed)}. "
                "--allow-mixed lets them differ"
            )

    def accounting(self) -> dict[str, Any]:
        """What each replica has used; see `Accounts.by_replica`."""
        return {"launcher": "ray", "replicas": self._accounts.by_replica()}

    async def close(self) -> None:
        """Nothing to free: the replicas stay for the next run; the fleet ends them."""


def job_of(resolved: Resolved, identity: RunIdentity) -> Job:
    """A run as replicas are told of it. They may have another working directory: local paths become absolute."""
    spec = resolved.spec
    choices = {role: replace(c, model=_absolute(c.model)) for role, c in spec.roles.items()}
    spec = replace(
        spec,
        choice=replace(spec.choice, model=_absolute(spec.choice.model)),
        roles=choices,
        profile=None,
        data_dir=spec.data_dir and spec.data_dir.absolute(),
    )
    return Job(spec, resolved.profile, identity)


def _absolute(model: str) -> str:
    return str(Path(model).absolute()) if Path(model).is_dir() else model


def bundles(todo: Iterable[Work]) -> list[list[Key]]:
    """Keys of neighbours that share an image, at most 16 together."""
    made = []
    for _, group in groupby(todo, key=lambda work: image_key(work.sample)):
        keys = [(work.index, work.repeat) for work in group]
        made += [keys[i : i + MOST_IN_A_BUNDLE] for i in range(0, len(keys), MOST_IN_A_BUNDLE)]
    return made


@dataclass
class _Streak:
    """Calls of a replica that failed in a row, and how many successes all had had when the row began."""

    length: int = 0
    successes_before: int = 0


class _Shift:
    """One run's work on its way through the replicas."""

    def __init__(
        self,
        launcher: RayLauncher,
        fleet: Fleet,
        work: Mapping[Key, Work],
        judges: Sequence[Judge],
        record: Record,
        accounts: Accounts,
    ) -> None:
        self._launcher = launcher
        self._fleet = fleet
        self._work = work
        self._judges = judges
        self._record = record
        self._accounts = accounts
        self._seats = fleet.living
        self._hand_out = HandOut(bundles(work.values()), [seat.name for seat in self._seats])
        self._moved = asyncio.Condition()
        self._writes = asyncio.Semaphore(_WRITES_WAITING)
        self._failures = FirstFailures()
        self._successes = 0
        self._streaks = {seat.name: _Streak() for seat in self._seats}

    async def work(self) -> None:
        """Until every key has an outcome on disk."""
        try:
            async with asyncio.TaskGroup() as self._group:
                serving = [self._group.create_task(self._serve(seat)) for seat in self._seats]
                async with self._moved:
                    await self._moved.wait_for(lambda: self._hand_out.finished)
                for one in serving:  # those that wait for a replacement
                    one.cancel()
        except* UserError as errors:
            raise first_error(errors) from None

    async def _serve(self, seat: Seat) -> None:
        while not seat.retired:
            try:
                await self._feed(seat)
            except ReplicaLost as lost:
                await self._take_back(seat, lost)
                await self._replace(seat, lost)

    async def _feed(self, seat: Seat) -> None:
        assert seat.prepared is not None and seat.place is not None
        room = (
            2 * seat.prepared.in_flight
        )  # as much again as it works on, so that it can read ahead
        while True:
            in_hand = self._hand_out.in_hand(seat.name)
            keys = self._hand_out.take(seat.name, room - in_hand)
            if not keys and not in_hand:
                async with self._moved:
                    await self._moved.wait_for(lambda: self._hand_out.waiting > 0)
                continue
            delivery = await self._fleet.exchange(seat, keys)
            self._accounts.note(seat.name, seat.place, delivery.accounting)
            for outcome in delivery.outcomes:
                await self._accept(seat, outcome)
            self._watch(seat)

    async def _accept(self, seat: Seat, outcome: Outcome) -> None:
        key = (outcome.work.index, outcome.work.repeat)
        if outcome.work.sample.id != self._work[key].sample.id:
            raise UserError(
                f"{seat}: row {key[0]} is {outcome.work.sample.id!r} there and "
                f"{self._work[key].sample.id!r} here: the task reads the same data in another order"
            )
        failed = outcome.prediction.status == "error"
        self._failures.note(outcome.prediction)
        self._note(seat, outcome.prediction)
        if self._hand_out.deliver(seat.name, key, success=not failed):
            await self._write_soon(outcome)
        if self._hand_out.finished:
            await self._notify()

    async def _write_soon(self, outcome: Outcome) -> None:
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
        if self._failures.hopeless:
            raise self._failures.hopeless

    async def _take_back(self, seat: Seat, lost: ReplicaLost) -> None:
        """What a lost replica had in hand waits for others, but for what may have killed it."""
        self._streaks[seat.name] = _Streak()
        for key in self._hand_out.lost(seat.name):
            sample = self._work[key].sample
            message = (
                f"replicas were lost again and again while they had this sample; the last: {lost}"
            )
            prediction = Prediction(
                sample.id, status="error", error=ErrorInfo("replica_lost", message)
            )
            await self._write_soon(Outcome(self._work[key], prediction, (), 0.0))
        await self._notify()

    async def _replace(self, seat: Seat, lost: ReplicaLost) -> None:
        """Another replica in the place of a lost one; without one the others go on, if there are any."""
        try:
            self._fleet.lose(seat, lost)
            await self._launcher.bring_up(seat)
        except UserError as error:
            seat.retired = True
            if not self._fleet.living:
                raise UserError(
                    f"no replica is left: {error}. What is recorded is kept; the same command goes on from there"
                ) from error
            logger.warning("%s. The run goes on with %s replicas", error, len(self._fleet.living))

    def _note(self, seat: Seat, prediction: Prediction) -> None:
        streak = self._streaks[seat.name]
        if prediction.status != "error":
            self._successes += 1
            streak.length = 0
        elif prediction.error is not None and prediction.error.role is not None:
            if streak.length == 0:
                streak.successes_before = self._successes
            streak.length += 1

    def _watch(self, seat: Seat) -> None:
        """A replica whose calls fail one after the other while others succeed would soon have failed all rows."""
        streak = self._streaks[seat.name]
        if streak.length >= HOPELESS_AFTER and self._successes > streak.successes_before:
            raise ReplicaLost(f"its last {streak.length} samples all failed while others succeeded")

    async def _notify(self) -> None:
        async with self._moved:
            self._moved.notify_all()
