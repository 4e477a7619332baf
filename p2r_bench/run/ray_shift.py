"""The work of a run on its way through replicas: pulled from here, judged here and written here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from p2r_bench.errors import UserError
from p2r_bench.run.feed import Work
from p2r_bench.run.hopeless import FirstFailures, Streaks
from p2r_bench.run.order import image_key
from p2r_bench.run.pipeline import Outcome, Record, first_error, judge_all
from p2r_bench.run.ray_accounts import Accounts
from p2r_bench.run.ray_fleet import Fleet, Seat
from p2r_bench.run.ray_handout import HandOut, Key
from p2r_bench.run.ray_messages import Job, ReplicaLost
from p2r_bench.types import ErrorInfo, Judge, Prediction

MOST_IN_A_BUNDLE = 16
"""Rows with the same image that are handed out together; more are cut into several bundles."""
_WRITES_WAITING = 1024

BringUp = Callable[[Seat], Awaitable[None]]
"""Makes a replica ready for the job; raises UserError."""

logger = logging.getLogger(__name__)


class Shift:
    """Hands out the work of one run, judges and writes what comes back, and copes with losses."""

    def __init__(
        self,
        fleet: Fleet,
        job: Job,
        work: Mapping[Key, Work],
        judges: Sequence[Judge],
        record: Record,
        accounts: Accounts,
    ) -> None:
        self._fleet = fleet
        self._job = job
        self._work = work
        self._judges = judges
        self._record = record
        self._accounts = accounts
        self._seats = fleet.living
        self._hand_out = HandOut(bundles(work.values()), [seat.name for seat in self._seats])
        self._moved = asyncio.Condition()
        self._writes = asyncio.Semaphore(_WRITES_WAITING)
        self._failures = FirstFailures()
        self._streaks = Streaks()

    async def work(self, bring_up: BringUp) -> None:
        """Until every key has an outcome on disk.

        Raises:
            UserError: The disk refused, a plugin broke its contract, the first 16 samples all failed, or no
                replica is left.
        """
        try:
            async with asyncio.TaskGroup() as self._group:
                serving = [
                    self._group.create_task(self._serve(seat, bring_up)) for seat in self._seats
                ]
                async with self._moved:
                    await self._moved.wait_for(lambda: self._hand_out.finished)
                for one in serving:  # those that wait for a replacement
                    one.cancel()
        except* UserError as errors:
            raise first_error(errors) from None

    async def _serve(self, seat: Seat, bring_up: BringUp) -> None:
        while not seat.retired:
            try:
                if seat.job is not self._job:
                    await bring_up(seat)
            except UserError as error:
                self._retire(seat, error)
                return
            try:
                await self._feed(seat)
            except ReplicaLost as lost:
                await self._take_back(seat, lost)

    async def _feed(self, seat: Seat) -> None:
        assert seat.prepared is not None and seat.place is not None
        room = 2 * seat.prepared.in_flight  # half of it is read ahead
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
            if failed := self._streaks.broken(seat.name):
                raise ReplicaLost(f"its last {failed} samples all failed while others succeeded")

    async def _accept(self, seat: Seat, outcome: Outcome) -> None:
        key = (outcome.work.index, outcome.work.repeat)
        if outcome.work.sample.id != self._work[key].sample.id:
            raise UserError(
                f"{seat}: row {key[0]} is {outcome.work.sample.id!r} there and "
                f"{self._work[key].sample.id!r} here: the task reads the same data in another order"
            )
        failed = outcome.prediction.status == "error"
        self._failures.note(outcome.prediction)
        self._streaks.note(seat.name, outcome.prediction)
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
        self._streaks.forget(seat.name)
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
        try:
            self._fleet.lose(seat, lost)
        except UserError as error:
            self._retire(seat, error)

    def _retire(self, seat: Seat, error: UserError) -> None:
        """Go on without a replica, if there are others."""
        self._fleet.retire(seat)
        if not self._fleet.living:
            raise UserError(
                f"no replica is left: {error}. What is recorded is kept; the same command goes on from there"
            ) from error
        logger.warning("%s. The run goes on with %s replicas", error, len(self._fleet.living))

    async def _notify(self) -> None:
        async with self._moved:
            self._moved.notify_all()


def bundles(todo: Iterable[Work]) -> list[list[Key]]:
    """Keys of neighbours that share an image, at most 16 together."""
    made = []
    for _, group in groupby(todo, key=lambda work: image_key(work.sample)):
        keys = [(work.index, work.repeat) for work in group]
        made += [keys[i : i + MOST_IN_A_BUNDLE] for i in range(0, len(keys), MOST_IN_A_BUNDLE)]
    return made
