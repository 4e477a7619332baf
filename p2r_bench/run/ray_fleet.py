"""The replicas of a command: started once for all its runs, replaced when they are lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from p2r_bench.errors import UserError
from p2r_bench.run import environment
from p2r_bench.run.ray_handout import Key
from p2r_bench.run.ray_messages import Cluster, Delivery, Job, Link, Place, Prepared, ReplicaLost

MOST_RESTARTS = 3
"""How often one replica is started again in a command."""
SILENT_AFTER_S = 300.0
"""A replica that says nothing for so long is taken for lost; it has a sign of life to give every 5 seconds."""
_NOTICE_EVERY_S = 60.0

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass
class Seat:
    """One replica, whoever plays it at the time.

    Attributes:
        restarts: How often it was started again.
        retired: It will not be started again.
        place: Where it runs; None while it waits for room, and once it is lost.
        job: What it is ready for; None before that, and once it is lost.
    """

    name: str
    link: Link | None = None
    place: Place | None = None
    job: Job | None = None
    prepared: Prepared | None = None
    restarts: int = 0
    retired: bool = False

    def __str__(self) -> str:
        where = f" on {self.place.host}, process {self.place.pid}" if self.place else ""
        return f"replica {self.name}{where}"


class Fleet:
    """Replicas, kept over the runs of a command with the engines that they have started."""

    def __init__(
        self,
        replicas: int,
        cluster: Cluster,
        *,
        most_restarts: int = MOST_RESTARTS,
        silent_after: float = SILENT_AFTER_S,
    ) -> None:
        self.seats = [Seat(str(number)) for number in range(1, replicas + 1)]
        self._cluster = cluster
        self._joined: bool | None = None
        self._most_restarts = most_restarts
        self._silent_after = silent_after

    @property
    def living(self) -> Sequence[Seat]:
        """Replicas that run, or will run again."""
        return [seat for seat in self.seats if not seat.retired]

    async def bring_up(self, seat: Seat, job: Job) -> Prepared:
        """Start a replica where it is not running, and prepare it; lost ones are started again.

        Raises:
            UserError: It refuses, or was lost too often; the message names it and its machine. Or there is
                no cluster.
        """
        if self._joined is None:
            self._joined = self._cluster.join()
        while True:
            try:
                return await self._prepare(seat, job)
            except ReplicaLost as lost:
                self.lose(seat, lost)
            except UserError as error:
                raise UserError(f"{seat}: {error}") from error

    async def exchange(self, seat: Seat, keys: Sequence[Key]) -> Delivery:
        """See `Replica.exchange`.

        Raises:
            ReplicaLost: It is gone, or has been silent for too long.
            UserError: It stopped; the message names it and its machine.
        """
        assert seat.link is not None
        try:
            async with asyncio.timeout(self._silent_after):
                return await seat.link.exchange(keys)
        except TimeoutError:
            raise ReplicaLost(f"no sign of life for {self._silent_after:.0f} s") from None
        except UserError as error:
            raise UserError(f"{seat}: {error}") from error

    def lose(self, seat: Seat, lost: ReplicaLost) -> None:
        """End what is left of a replica, and count the loss.

        Raises:
            UserError: It was lost too often to be started again.
        """
        if seat.link is not None:
            seat.link.kill()
        name = str(seat)
        seat.link = seat.place = seat.job = None
        if seat.restarts >= self._most_restarts:
            raise UserError(f"{name} was lost {seat.restarts + 1} times, the last time: {lost}")
        seat.restarts += 1
        logger.warning(
            "%s was lost: %s. It is started again (%s of %s)",
            *(name, lost, seat.restarts, self._most_restarts),
        )

    def retire(self, seat: Seat) -> None:
        """End a replica for good."""
        if seat.link is not None:
            seat.link.kill()
        seat.link = seat.place = seat.job = None
        seat.retired = True

    async def close(self) -> None:
        """End all replicas; safe to call twice."""
        closing = []
        for seat in self.seats:
            if seat.link is not None and seat.place is None:
                seat.link.kill()
            elif seat.link is not None:
                closing.append(seat.link.close())
            seat.link = seat.place = seat.job = None
        await asyncio.gather(*closing)
        if self._joined:
            self._cluster.leave()
        self._joined = None

    async def _prepare(self, seat: Seat, job: Job) -> Prepared:
        if seat.link is None:
            seat.link = self._cluster.spawn()
        if seat.place is None:
            room = f"room in the cluster for replica {seat.name}"
            seat.place = await _patiently(seat.link.describe(), room)
        _check_versions(seat.place, allow_mixed=job.spec.allow_mixed)
        seat.prepared = await _patiently(seat.link.prepare(job), f"{seat} to start its engines")
        seat.job = job
        return seat.prepared


def _check_versions(place: Place, *, allow_mixed: bool) -> None:
    here: Mapping[str, str] = environment.versions()
    different = [
        f"{name} {place.versions.get(name, 'is missing')} there, {here.get(name, 'is missing')} here"
        for name in sorted(here.keys() | place.versions.keys())
        if here.get(name) != place.versions.get(name) and (name == "p2r-bench" or not allow_mixed)
    ]
    if different:
        raise UserError(
            f"other versions than where the command runs: {'; '.join(different)}. Install the same on "
            "every node (--allow-mixed lets all but p2r-bench itself differ)"
        )


async def _patiently(coming: Awaitable[T], what: str) -> T:
    """Wait as long as it takes, and say every minute for what."""
    task = asyncio.ensure_future(coming)
    try:
        while not (await asyncio.wait([task], timeout=_NOTICE_EVERY_S))[0]:
            logger.warning("still waiting for %s", what)
        return task.result()
    finally:
        task.cancel()
