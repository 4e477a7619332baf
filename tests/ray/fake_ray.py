"""Ray without processes: actors that answer by a rule, die on demand, and are restarted as Ray does it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from p2r_bench.adapter import load_profile
from p2r_bench.errors import UserError
from p2r_bench.run import environment
from p2r_bench.run.images.prefetch import Work
from p2r_bench.run.ray.launcher import RayLauncher
from p2r_bench.run.ray.replica import Job, Key, Ready
from p2r_bench.run.schedule.pipeline import Outcome
from p2r_bench.run.spec import RunSpec
from p2r_bench.store.identity import RunIdentity
from p2r_bench.types import ErrorInfo, ImageRef, Prediction, Sample


class RayActorError(Exception): ...


class ActorDiedError(RayActorError): ...


class ActorUnavailableError(RayActorError): ...


class RayTaskError(Exception):
    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


RAY = SimpleNamespace(
    exceptions=SimpleNamespace(
        RayActorError=RayActorError,
        ActorDiedError=ActorDiedError,
        ActorUnavailableError=ActorUnavailableError,
        RayTaskError=RayTaskError,
    )
)


def samples(count: int) -> list[Work]:
    """Work on `count` samples, four to an image."""
    return [
        Work(n, Sample(f"s{n}", "HR-Bench", ImageRef(path=f"{n // 4}.png"), "which?", "A"))
        for n in range(count)
    ]


def job(**fields: Any) -> Job:
    identity = RunIdentity("HR-Bench", "p2r", "p2r-bench 0", {}, "data", "profile")
    spec = RunSpec("HR-Bench", **fields)
    return Job(spec, load_profile("tiny"), identity, environment.versions())


@dataclass
class FakeActor:
    """A replica that answers each batch at the next turn of the loop.

    Attributes:
        lives: Batches that it answers in each life before it dies; None for ever. Then it is dead.
        fails: Chooses the samples that it fails.
        kills: Chooses the samples that kill it.
        refuses: The reason why it cannot start a job.
        delay: Seconds that a batch takes.
    """

    work: Sequence[Work]
    lives: Sequence[int | None] = (None,)
    fails: Callable[[int], bool] = lambda index: False
    kills: Callable[[int], bool] = lambda index: False
    refuses: str | None = None
    returns: bool = True
    delay: float = 0.0
    facts: dict[str, str] = field(default_factory=lambda: {"name": "fake"})
    host: str = "here"
    seen: list[Key] = field(default_factory=list)
    life: int = 0
    _answered: int = 0
    _up: bool = True

    @property
    def start(self) -> Any:
        return SimpleNamespace(remote=self._start)

    @property
    def solve(self) -> Any:
        return SimpleNamespace(remote=self._solve)

    async def _start(self, job: Job) -> Ready:
        await asyncio.sleep(0)
        self._alive()
        if not self._up:
            self._up = self.returns
            raise ActorUnavailableError("restarting")
        if self.refuses:
            raise RayTaskError(UserError(self.refuses))
        return Ready(f"{self.host}, process {self.life}", {"reason": self.facts}, in_flight=4)

    async def _solve(self, job: Job, keys: Sequence[Key]) -> tuple[Ready, list[Outcome], Any]:
        self.seen += keys
        life = self.life
        await asyncio.sleep(self.delay)
        self._alive()
        if self.life != life or not self._up:
            raise ActorUnavailableError("lost while it was restarted")
        if self._answered == self.lives[life] or any(self.kills(index) for index, _ in keys):
            self.life, self._answered, self._up = life + 1, 0, False
            raise ActorUnavailableError("killed")
        self._answered += 1
        ready = Ready(f"{self.host}, process {self.life}", {"reason": self.facts}, in_flight=4)
        return ready, [self._outcome(key) for key in keys], self._account()

    def _alive(self) -> None:
        if self.life == len(self.lives):
            raise ActorDiedError("died for the last time")

    def _account(self) -> dict[str, Any]:
        engine = {"capacity": 2, "busy_s": 0.5 * self._answered, "request_s": 1.0 * self._answered}
        return {"engines": [engine], "images": {"sent": self._answered}, "peak_mb": 100.0}

    def _outcome(self, key: Key) -> Outcome:
        work = self.work[key[0]]
        failed = ErrorInfo("told", "told to fail", "reason") if self.fails(key[0]) else None
        status = "error" if failed else "ok"
        prediction = Prediction(work.sample.id, status=status, answer="A", error=failed)
        return Outcome(Work(work.index, work.sample, key[1]), prediction, (), 0.1)


@dataclass
class FakeCluster:
    """A cluster of these actors."""

    actors: list[FakeActor]

    def open(self) -> list[FakeActor]:
        return self.actors


@dataclass
class Record:
    """Keeps what the driver writes."""

    outcomes: list[Outcome] = field(default_factory=list)

    async def __call__(self, outcome: Outcome) -> None:
        await asyncio.sleep(0)
        self.outcomes.append(outcome)

    @property
    def written(self) -> list[tuple[str, str]]:
        return sorted((o.work.sample.id, o.prediction.status) for o in self.outcomes)


def drive(
    work: Sequence[Work], *actors: FakeActor, record: Any = None, **fields: Any
) -> tuple[Any, RayLauncher]:
    """Run over these actors; return what was written, and the launcher."""
    record = record or Record()
    launcher = RayLauncher(FakeCluster(list(actors)), job(**fields), ())  # type: ignore[arg-type]

    async def whole_run() -> None:
        await launcher.start()
        await launcher.run(work, record)

    asyncio.run(asyncio.wait_for(whole_run(), 60))
    return record, launcher
