"""Replicas without a process: answers by a rule, and deaths on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from p2r_bench.adapter import load_profile
from p2r_bench.errors import UserError
from p2r_bench.run import environment
from p2r_bench.run.feed import Work
from p2r_bench.run.pipeline import Outcome
from p2r_bench.run.ray_fleet import Fleet
from p2r_bench.run.ray_handout import Key
from p2r_bench.run.ray_launcher import RayLauncher
from p2r_bench.run.ray_messages import Delivery, Job, Place, Prepared, ReplicaLost
from p2r_bench.run.spec import RunSpec
from p2r_bench.store.identity import RunIdentity
from p2r_bench.types import ErrorInfo, ImageRef, Prediction, Sample

VERSIONS = environment.versions()


def samples(count: int) -> list[Work]:
    """Work on `count` samples, four to an image."""
    return [
        Work(
            number,
            Sample(f"s{number}", "HR-Bench", ImageRef(path=f"{number // 4}.png"), "which?", "A"),
        )
        for number in range(count)
    ]


def job(**fields: object) -> Job:
    spec = RunSpec("HR-Bench", **fields)  # type: ignore[arg-type]
    identity = RunIdentity("HR-Bench", "p2r", "p2r-bench 0", {}, "data", "profile")
    return Job(spec, load_profile("tiny"), identity)


@dataclass
class FakeLink:
    """A replica that answers `speed` samples an exchange.

    Attributes:
        dies_after: Answers that it lives to deliver; None for ever.
        fails: Which samples it fails.
        refuses: Why it cannot be prepared.
    """

    work: Sequence[Work]
    speed: int = 3
    dies_after: int | None = None
    fails: Callable[[int], bool] = lambda index: False
    refuses: str | None = None
    hangs: bool = False
    versions: dict[str, str] = field(default_factory=VERSIONS.copy)
    facts: dict[str, str] = field(default_factory=lambda: {"name": "fake"})
    host: str = "here"
    seen: list[Key] = field(default_factory=list)
    killed: bool = False
    closed: bool = False
    _in_hand: list[Key] = field(default_factory=list)
    _answered: int = 0

    async def describe(self) -> Place:
        return Place(self.host, 1, self.versions)

    async def prepare(self, job: Job) -> Prepared:
        if self.refuses:
            raise UserError(self.refuses)
        self._in_hand.clear()
        return Prepared({"reason": self.facts}, in_flight=4)

    async def exchange(self, keys: Sequence[Key]) -> Delivery:
        self.seen += keys
        self._in_hand += keys
        await asyncio.sleep(0)
        if self.hangs:
            await asyncio.Event().wait()
        if self.dies_after is not None and self._answered >= self.dies_after:
            raise ReplicaLost("killed")
        done, self._in_hand = self._in_hand[: self.speed], self._in_hand[self.speed :]
        self._answered += len(done)
        return Delivery([self._outcome(key) for key in done], self._account())

    def _account(self) -> dict[str, object]:
        engine = {"capacity": 2, "busy_s": 0.5 * self._answered, "request_s": 1.0 * self._answered}
        return {"engines": [engine], "images": {"sent": self._answered}, "peak_mb": 100.0}

    def _outcome(self, key: Key) -> Outcome:
        work = self.work[key[0]]
        failed = ErrorInfo("told", "told to fail", "reason") if self.fails(key[0]) else None
        prediction = Prediction(
            work.sample.id, status="error" if failed else "ok", answer="A", error=failed
        )
        return Outcome(Work(work.index, work.sample, key[1]), prediction, (), 0.1)

    async def close(self) -> None:
        self.closed = True

    def kill(self) -> None:
        self.killed = True


@dataclass
class FakeCluster:
    """Hands out these links, in order."""

    links: list[FakeLink]
    joined: int = 0
    left: int = 0

    def join(self) -> bool:
        self.joined += 1
        return True

    def spawn(self) -> FakeLink:
        return self.links.pop(0)

    def leave(self) -> None:
        self.left += 1


@dataclass
class Record:
    """What the driver wrote."""

    outcomes: list[Outcome] = field(default_factory=list)

    async def __call__(self, outcome: Outcome) -> None:
        await asyncio.sleep(0)
        self.outcomes.append(outcome)

    @property
    def written(self) -> list[tuple[str, str]]:
        return sorted((o.work.sample.id, o.prediction.status) for o in self.outcomes)


def drive(
    work: Sequence[Work], *links: FakeLink, replicas: int = 2, **fields: object
) -> tuple[Record, Fleet]:
    """A run over a fleet that takes its replicas from `links`, in order."""
    record, cluster = Record(), FakeCluster(list(links))

    async def whole_run() -> Fleet:
        fleet = Fleet(replicas, cluster, most_restarts=1, silent_after=0.2)
        launcher = RayLauncher(fleet, job(**fields), ())
        try:
            await launcher.start()
            await launcher.run(work, record)
        finally:
            await fleet.close()
        return fleet

    fleet = asyncio.run(whole_run())
    assert (cluster.joined, cluster.left) == (1, 1)
    return record, fleet
