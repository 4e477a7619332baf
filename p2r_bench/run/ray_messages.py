"""What the driver of a run and its replicas tell each other. All of it is small: no samples out, no image bytes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from p2r_bench.adapter import Profile
from p2r_bench.run.launcher import EngineFacts
from p2r_bench.run.pipeline import Outcome
from p2r_bench.run.ray_handout import Key
from p2r_bench.run.spec import RunSpec
from p2r_bench.store.identity import RunIdentity


@dataclass(frozen=True)
class Job:
    """A run as a replica is told of it; the replica reads the task's rows itself.

    Attributes:
        spec: With absolute paths and without the profile's name.
        profile: As the driver read it, so that a profile file is needed on the driver's machine only.
        identity: What the replica must come to as well.
    """

    spec: RunSpec
    profile: Profile
    identity: RunIdentity


@dataclass(frozen=True)
class Place:
    """Where a replica runs, and with which versions of Python and of what can change a number."""

    host: str
    pid: int
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Prepared:
    """A replica is ready for a job.

    Attributes:
        in_flight: How many samples it works on at once.
    """

    engines: EngineFacts
    in_flight: int


@dataclass(frozen=True)
class Delivery:
    """Outcomes since the last delivery, without verdicts, and the replica's accounting so far."""

    outcomes: Sequence[Outcome] = ()
    accounting: Mapping[str, Any] = field(default_factory=dict)


class ReplicaLost(Exception):
    """A replica can no longer be reached, and what it had in hand is lost. The message says why, in one line."""


class Link(Protocol):
    """The driver's end of one replica. Every call raises ReplicaLost, and UserError where the replica refuses."""

    async def describe(self) -> Place:
        """Returns once the replica has got its place in the cluster."""

    async def prepare(self, job: Job) -> Prepared:
        """See `Replica.prepare`."""

    async def exchange(self, keys: Sequence[Key]) -> Delivery:
        """See `Replica.exchange`."""

    async def close(self) -> None:
        """Let it free what it holds, within a few seconds, then end it. Raises nothing."""

    def kill(self) -> None:
        """End it at once. Raises nothing; safe to call twice."""


class Cluster(Protocol):
    """Where replicas come from."""

    def join(self) -> bool:
        """Called when the first replica is needed; whether `leave` is to be called in the end."""

    def spawn(self) -> Link:
        """A new replica; it may still wait for its place."""

    def leave(self) -> None:
        """Undo `join`."""
