"""Launchers: they run a run's work in this process or in others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from p2r_bench.adapter import Profile
from p2r_bench.run.accounting import EngineMeter
from p2r_bench.run.canaries import Policy
from p2r_bench.run.engines import EngineSet, check_capabilities, max_images_of
from p2r_bench.run.images.prefetch import Todo
from p2r_bench.run.images.rendering import ImageWork
from p2r_bench.run.schedule.circuit_breaker import CircuitBreaker
from p2r_bench.run.schedule.pipeline import Pipeline, Record
from p2r_bench.run.schedule.solving import Solver
from p2r_bench.run.spec import EngineChoice, RunSpec
from p2r_bench.types import Judge, Mode

EngineFacts = Mapping[str, Mapping[str, Any]]
"""Facts of each role's engine, as in `Session.pinned`."""


class Launcher(Protocol):
    """Runs work and passes every outcome to one writer.

    Call `start`, `run` and `close` in this order, `close` also after a failure.
    """

    async def start(self) -> EngineFacts:
        """Start the engines or replicas, and check that they can honour the profile.

        Raises:
            UserError: An engine cannot honour the profile, or the model or device is unusable.
        """

    async def run(self, todo: Todo, record: Record, *, resumed: bool = False) -> None:
        """Solve and judge all work; await `record`, which writes to disk, for each outcome.

        Outcomes come in any order and may repeat. Cancelling stops at once; recorded outcomes are kept.

        Args:
            todo: Work to do, read a few rows ahead. An asynchronous iterable yields groups, each begun without waiting
                for the next.
            resumed: True if an earlier session of the run had a success.

        Raises:
            UserError: A failed write, a plugin that broke its contract, or an engine that fails all samples
                (`run.schedule.circuit_breaker`).
        """

    def canaries(self) -> Mapping[str, Any]:
        """Return the outcomes of the start-up checks (`run.canaries.check`). Valid after `start`."""

    def accounting(self) -> dict[str, Any]:
        """Return the resources used by `run` so far, as JSON values for the manifest.

        Keys: `engines` (readings of each `EngineMeter`) and `images` (counts of `ImageWork`); or `replicas`, by name,
            each with these two.
        """

    async def close(self) -> None:
        """Free the resources of `start` and `run`; safe to call twice. Engines of an `EngineSet` stay open."""


class LocalLauncher:
    """One pipeline in this process.

    Args:
        failures: See `Pipeline`.
        pipeline: Class of the pipeline; benchmarks pass others.
    """

    def __init__(
        self,
        spec: RunSpec,
        mode: Mode,
        profile: Profile,
        choices: Mapping[str, EngineChoice],
        judges: Sequence[Judge],
        engines: EngineSet,
        failures: CircuitBreaker | None = None,
        pipeline: type[Pipeline] = Pipeline,
    ) -> None:
        self._pipeline = pipeline
        self._failures = failures
        self._spec = spec
        self._mode = mode
        self._profile = profile
        self._choices = choices
        self._judges = judges
        self._set = engines
        self._engines = {role: engines.get(c, profile.family) for role, c in choices.items()}
        self._images = ImageWork(spec.image_memory)
        self._meters: dict[int, EngineMeter] = {}
        self._outcomes: Mapping[str, Any] = {}

    async def start(self) -> EngineFacts:
        """See `Launcher.start`."""
        await self._set.start(self._engines.values())
        most = max_images_of(self._mode, self._profile)
        check_capabilities(self._engines, self._profile, self._choices, most)
        for engine in self._engines.values():
            self._meters.setdefault(id(engine), EngineMeter(engine.capabilities().concurrency))
        self._outcomes = await self._set.check(
            self._engines, self._profile, most, Policy.read(self._spec.canaries)
        )
        return {role: dict(e.capabilities().facts) for role, e in self._engines.items()}

    async def run(self, todo: Todo, record: Record, *, resumed: bool = False) -> None:
        """See `Launcher.run`."""
        failures = self._failures or CircuitBreaker(succeeded=resumed)
        meters = {role: self._meters[id(engine)] for role, engine in self._engines.items()}
        encoders = {role: e.capabilities().image_encoder for role, e in self._engines.items()}
        solver = Solver(self._mode, self._profile, self._engines, meters, self._spec.seed, encoders)
        in_flight = self._spec.in_flight or max(2 * self.capacity, 4)
        pipeline = self._pipeline(solver, self._judges, self._images, record, in_flight, failures)
        await pipeline.run(todo)

    @property
    def capacity(self) -> int:
        """Number of requests in flight that keeps all engines full. Valid after `start`."""
        return sum(meter.capacity for meter in self._meters.values())

    def canaries(self) -> Mapping[str, Any]:
        """See `Launcher.canaries`."""
        return self._outcomes

    def accounting(self) -> dict[str, Any]:
        """See `Launcher.accounting`."""
        engines = [meter.read() for meter in self._meters.values()]
        return {"engines": engines, "images": dict(self._images.counts)}

    async def close(self) -> None:
        """See `Launcher.close`."""
        await asyncio.to_thread(self._images.close)
