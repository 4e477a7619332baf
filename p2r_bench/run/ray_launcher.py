"""A run over many replicas: prepared, checked and accounted for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.run.feed import Todo
from p2r_bench.run.launcher import EngineFacts
from p2r_bench.run.pipeline import Record, first_error
from p2r_bench.run.ray_accounts import Accounts
from p2r_bench.run.ray_fleet import Fleet, Seat
from p2r_bench.run.ray_messages import Job
from p2r_bench.run.ray_shift import Shift
from p2r_bench.run.resolve import Resolved
from p2r_bench.store.identity import RunIdentity, changed_facts
from p2r_bench.types import Judge


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
        """Start and prepare the replicas; the facts of their engines must be the same. See `Launcher.start`.

        All of them the first time; later those that run, while the others join during the run.
        """
        if self._job.spec.schedule == "barrier":
            raise UserError(
                "--schedule barrier is a baseline for one process: use --launcher local"
            )
        try:
            async with asyncio.TaskGroup() as group:
                for seat in [s for s in self._fleet.living if s.place] or self._fleet.living:
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
            shift = Shift(self._fleet, self._job, work, self._judges, record, self._accounts)
            await shift.work(self.bring_up)

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
