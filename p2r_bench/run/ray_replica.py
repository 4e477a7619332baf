"""One replica: a whole pipeline with engines of its own, fed and emptied by the driver."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.run import environment
from p2r_bench.run.accounting import peak_mb
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.feed import Work
from p2r_bench.run.hopeless import FirstFailures
from p2r_bench.run.launcher import LocalLauncher
from p2r_bench.run.pipeline import Outcome
from p2r_bench.run.ray_handout import Key
from p2r_bench.run.ray_messages import Delivery, Job, Place, Prepared
from p2r_bench.run.resolve import Resolved, resolve
from p2r_bench.types import Engine, Sample

SIGN_OF_LIFE_S = 5.0
"""Longest wait for an outcome before an empty delivery tells that the replica lives."""


class Replica:
    """Engine, image work and mode of a run's samples; the judges are the driver's.

    It reads the task's rows itself, so that only their indexes come in and outcomes go out.

    Args:
        max_images: Most images that a request of any run of the command holds.
    """

    def __init__(self, max_images: int) -> None:
        self._engines = EngineSet(max_images)
        self._run: _Run | None = None

    async def describe(self) -> Place:
        """Where this is."""
        return Place(socket.gethostname(), os.getpid(), environment.versions())

    async def prepare(self, job: Job) -> Prepared:
        """Read the rows, check that they, the profile and the models are the driver's, and start the engines.

        Engines of an earlier job that this one needs stay as they are; what was left of that job is dropped.

        Raises:
            UserError: Something is missing here or is not what the driver has.
        """
        await self._stop()
        resolved = await asyncio.to_thread(_resolve, job)
        engines = {role: self._engines.get(choice) for role, choice in resolved.choices.items()}
        await _check(job, resolved, engines)
        await self._engines.close(keep=resolved.choices.values())
        launcher = LocalLauncher(
            resolved.spec,
            resolved.mode,
            resolved.profile,
            resolved.choices,
            judges=(),
            engines=self._engines,
            failures=FirstFailures(after=None),  # the driver counts over all replicas
        )
        facts = await launcher.start()
        self._run = _Run(launcher, resolved.samples)
        return Prepared(facts, job.spec.in_flight or max(2 * launcher.capacity, 4))

    async def exchange(self, keys: Sequence[Key]) -> Delivery:
        """Take in more work and give out what is finished; waits a little for the first outcome.

        Raises:
            UserError: The pipeline stopped because a plugin broke its contract.
        """
        if self._run is None:
            raise RuntimeError("exchange before prepare")
        return await self._run.exchange(keys)

    async def close(self) -> None:
        """Drop what is not finished and close the engines; safe to call twice."""
        await self._stop()
        await self._engines.close()

    async def _stop(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            await run.close()


class _Run:
    """One job on its way."""

    def __init__(self, launcher: LocalLauncher, samples: Sequence[Sample]) -> None:
        self._launcher = launcher
        self._samples = samples
        self._coming: asyncio.Queue[list[Work]] = asyncio.Queue()
        self._finished: list[Outcome] = []
        self._news = asyncio.Event()
        self._working = asyncio.create_task(launcher.run(self._arriving(), self._record))
        self._working.add_done_callback(lambda _: self._news.set())

    async def exchange(self, keys: Sequence[Key]) -> Delivery:
        if keys:
            self._coming.put_nowait([Work(i, self._samples[i], repeat) for i, repeat in keys])
        with suppress(TimeoutError):
            async with asyncio.timeout(SIGN_OF_LIFE_S):
                await self._news.wait()
        outcomes, self._finished = self._finished, []
        if self._working.done():
            if not outcomes:
                await self._working
                raise RuntimeError("the pipeline ended before it was told to")
        else:
            self._news.clear()
        account = {**self._launcher.accounting(), "peak_mb": peak_mb()}
        return Delivery(tuple(outcomes), account)

    async def close(self) -> None:
        self._working.cancel()
        await asyncio.wait([self._working])
        await self._launcher.close()

    async def _arriving(self) -> AsyncIterator[Sequence[Work]]:
        while True:
            yield await self._coming.get()

    async def _record(self, outcome: Outcome) -> None:
        self._finished.append(outcome)
        self._news.set()


def _resolve(job: Job) -> Resolved:
    try:
        resolved = resolve(job.spec)
    except UserError as error:
        raise UserError(
            f"{error}. Data and models must be there under the same path on every node: share the folder, "
            "or copy it"
        ) from error
    # A copy, so that the hash is worked out by the rules of the code that runs here.
    return replace(resolved, profile=job.profile.replace())


async def _check(job: Job, resolved: Resolved, engines: dict[str, Engine]) -> None:
    """Refuse what would not be the driver's run."""
    identity = job.identity
    _same(
        "mode",
        identity.mode_version,
        resolved.mode_version,
        "install the same version on every node",
    )
    _same(
        "hash of the profile",
        identity.profile_hash,
        resolved.profile.hash,
        "install the same version of p2r-bench on every node",
    )
    digest = await asyncio.to_thread(resolved.task.data_digest, resolved.source)
    where = f" in {job.spec.data_dir}" if job.spec.data_dir else ""
    _same(
        f"digest of {job.spec.task}'s data{where}",
        identity.data_digest,
        digest,
        "copy the folder again, or share it",
    )
    for role, engine in engines.items():
        model = resolved.choices[role].model
        _same(
            f"digest of the model {model} for role {role}",
            identity.model_digests[role],
            await engine.identify(),
            "copy or fetch the model again",
        )


def _same(what: str, expected: Any, found: Any, way_out: str) -> None:
    if expected != found:
        raise UserError(
            f"the {what} is {found} here, and {expected} where the run began: {way_out}"
        )
