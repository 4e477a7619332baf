"""One replica: a pipeline with its own engines, which reads the task's rows itself."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from p2r_bench.adapter import Profile
from p2r_bench.errors import UserError
from p2r_bench.run import environment
from p2r_bench.run.accounting import peak_mb
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.images.prefetch import Work
from p2r_bench.run.resolve import Resolved, resolve
from p2r_bench.run.schedule.circuit_breaker import CircuitBreaker
from p2r_bench.run.schedule.launcher import EngineFacts, LocalLauncher
from p2r_bench.run.schedule.pipeline import Outcome
from p2r_bench.run.spec import RunSpec
from p2r_bench.store.identity import RunIdentity, name_of_model

Key = tuple[int, int]
"""Index of a sample in the dataset, and repeat."""


@dataclass(frozen=True)
class Job:
    """A run as it is sent to replicas.

    Attributes:
        spec: With absolute paths and without a profile's name.
        profile: As the driver read it, so that only the driver needs the profile's file.
        identity: Identity of the run, which every replica must also compute.
        versions: The driver's `environment.versions()`.
    """

    spec: RunSpec
    profile: Profile
    identity: RunIdentity
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Ready:
    """Facts of a replica with started engines. `in_flight` is a number of samples."""

    process: str
    engines: EngineFacts
    in_flight: int
    canaries: Mapping[str, Any] = field(default_factory=dict)


class Replica:
    """The Ray actor. Each call carries the job, so a process that Ray has restarted can begin with any call.

    Args:
        max_images: Most images in one request of any run of the command.
    """

    def __init__(self, max_images: int) -> None:
        self._engines = EngineSet(max_images)
        self._running: _Running | None = None
        self._preparing = asyncio.Lock()

    async def start(self, job: Job) -> Ready:
        """Check that this is the driver's run, and start the engines. Drops the previous job.

        Raises:
            UserError: Data, models or versions are missing on this node or differ from the driver's.
        """
        async with self._preparing:
            if self._running is None or self._running.job.identity != job.identity:
                await self._stop()
                try:
                    self._running = await self._prepared(job)
                except UserError as error:
                    raise UserError(f"on {_process()}: {error}") from error
            return self._running.ready

    async def solve(
        self, job: Job, keys: Sequence[Key]
    ) -> tuple[Ready, list[Outcome], dict[str, Any]]:
        """Return facts, outcomes without verdicts, and the process's accounting so far."""
        ready = await self.start(job)
        assert self._running is not None
        return ready, await self._running.solve(keys), self._running.accounting()

    async def close(self) -> None:
        """Drop unfinished samples and close the engines; safe to call twice."""
        await self._stop()
        await self._engines.close()

    async def _prepared(self, job: Job) -> _Running:
        resolved = await asyncio.to_thread(_resolve, job)
        await _check(job, resolved, self._engines)
        await self._engines.close(keep=resolved.choices.values())
        launcher = LocalLauncher(
            resolved.spec,
            resolved.mode,
            resolved.profile,
            resolved.choices,
            judges=(),
            engines=self._engines,
            failures=CircuitBreaker(
                after=None
            ),  # the driver has the circuit breaker of all replicas
        )
        engines = await launcher.start()
        in_flight = job.spec.in_flight or max(2 * launcher.capacity, 4)
        return _Running(
            job, resolved, launcher, Ready(_process(), engines, in_flight, launcher.canaries())
        )

    async def _stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running.close()


class _Running:
    """The pipeline of one job; calls supply its work."""

    def __init__(self, job: Job, resolved: Resolved, launcher: LocalLauncher, ready: Ready) -> None:
        self.job, self.ready = job, ready
        self._samples = resolved.samples
        self._launcher = launcher
        self._coming: asyncio.Queue[list[Work]] = asyncio.Queue()
        self._results: dict[Key, asyncio.Future[Outcome]] = {}
        self._pipeline = asyncio.create_task(launcher.run(self._todo(), self._record))

    async def solve(self, keys: Sequence[Key]) -> list[Outcome]:
        results = [asyncio.get_running_loop().create_future() for _ in keys]
        self._results.update(zip(keys, results, strict=True))
        self._coming.put_nowait([Work(i, self._samples[i], repeat) for i, repeat in keys])
        solving = asyncio.gather(*results)
        either: set[asyncio.Future[Any]] = {solving, self._pipeline}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._pipeline.done():
            solving.cancel()
            await self._pipeline  # raises the pipeline's error
        return await solving

    def accounting(self) -> dict[str, Any]:
        return {**self._launcher.accounting(), "peak_mb": round(peak_mb(), 1)}

    async def close(self) -> None:
        self._pipeline.cancel()
        await asyncio.wait([self._pipeline])
        await self._launcher.close()

    async def _todo(self) -> AsyncIterator[Sequence[Work]]:
        while True:
            yield await self._coming.get()

    async def _record(self, outcome: Outcome) -> None:
        result = self._results.pop((outcome.work.index, outcome.work.repeat))
        if not result.done():
            result.set_result(outcome)


def _process() -> str:
    return f"{socket.gethostname()}, process {os.getpid()}"


def _resolve(job: Job) -> Resolved:
    try:
        resolved = resolve(job.spec)
    except UserError as error:
        raise UserError(
            f"{error}. Data and models must be there under the same path on every node: share the folder, "
            "or copy it"
        ) from error
    # The code installed here computes the hash of the driver's profile.
    return replace(resolved, profile=job.profile.replace())


async def _check(job: Job, resolved: Resolved, engines: EngineSet) -> None:
    """Raise UserError if this node's data, models or versions differ from the driver's."""
    wanted, here = job.identity, environment.versions()
    for name in sorted(here.keys() | job.versions.keys()):
        if name == "p2r-bench" or not job.spec.allow_mixed:
            version, found = job.versions.get(name, "missing"), here.get(name, "missing")
            _same(
                f"version of {name}",
                version,
                found,
                "install the same on every node, or --allow-mixed",
            )
    _same("mode", wanted.mode_version, resolved.mode_version, "install it on every node")
    hint = "install the same version of p2r-bench on every node"
    _same("hash of the profile", wanted.profile_hash, resolved.profile.hash, hint)
    digest = await asyncio.to_thread(resolved.task.data_digest, resolved.source)
    what = f"digest of {job.spec.task}'s data in {job.spec.data_dir or 'its usual folder'}"
    _same(what, wanted.data_digest, digest, "copy the folder again, or share it")
    for role, choice in resolved.choices.items():
        what = f"digest of the model {choice.model} for role {role}"
        found = await engines.get(choice, resolved.profile.family).identify()
        _same(
            what, name_of_model(wanted.model_digests[role]), found, "copy or fetch the model again"
        )


def _same(what: str, expected: Any, found: Any, way_out: str) -> None:
    if expected != found:
        raise UserError(
            f"the {what} is {found} here, and {expected} where the run began: {way_out}"
        )
