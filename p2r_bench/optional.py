"""Optional members of modes, tasks, judges and engines, one protocol each, and the defaults without them.

A plugin's class needs no base class; it only defines the members that it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from p2r_bench.types import Cell, Completion, DataSource, Request, Sample

if TYPE_CHECKING:
    from PIL import Image

    from p2r_bench.adapter import Profile


@runtime_checkable
class HasRoles(Protocol):
    """A mode that names the roles it calls. Other modes may call all built-in roles."""

    roles: tuple[str, ...]


@runtime_checkable
class HasMaxImages(Protocol):
    """A mode with its own limit of images in one request. The limit of other modes is `Profile.max_images`."""

    def max_images(self, profile: Profile) -> int:
        """Return the most images that one request holds."""


@runtime_checkable
class HasPrepare(Protocol):
    """A mode that changes samples before they are asked, judged and stored."""

    def prepare(self, sample: Sample) -> Sample:
        """Return the sample with the same id; depends on the sample and the mode's parameters alone."""


@runtime_checkable
class HasScorer(Protocol):
    """A task with its own headline scorer. The headline scorer of other tasks is `strict`."""

    scorer: str


@runtime_checkable
class HasCheckParams(Protocol):
    """A task that checks its parameters before any data is read."""

    def check_params(self, source: DataSource) -> None:
        """Raise UserError for a parameter that the task does not take."""


@runtime_checkable
class HasFiles(Protocol):
    """A task whose data is in files."""

    def files(self, source: DataSource) -> Sequence[tuple[str, Path]]:
        """Return the files, each with its label. Raises UserError when a file is missing."""


@runtime_checkable
class HasKnownImages(Protocol):
    """A task that knows how many images each cell of the published data has."""

    known_images: Mapping[Cell, int]


@runtime_checkable
class HasCheck(Protocol):
    """A judge with a check of its set-up. Other judges are always set up."""

    def check(self) -> None:
        """Raise UserError when the judge is not set up."""


@runtime_checkable
class HasClose(Protocol):
    """A judge that holds connections or files open."""

    async def close(self) -> None:
        """Close connections and files; safe to call twice."""


@runtime_checkable
class HasMetric(Protocol):
    """A judge that gives partial credit, and names its measure. Other judges give 1 or 0."""

    metric: str


@runtime_checkable
class HasIdentifiesWeights(Protocol):
    """An engine that says whether `identify()` is a digest of the weights. For other engines it is assumed to be one."""

    identifies_weights: bool


@runtime_checkable
class HasAskEach(Protocol):
    """An engine that stands for several servers."""

    async def ask_each(
        self, request: Request, images: Sequence[Image.Image]
    ) -> Mapping[str, Completion]:
        """Return the completion of each server, by URL."""


def declared_roles(mode: object) -> tuple[str, ...] | None:
    """Return the roles that a mode, or its class, names; None where it names none."""
    return tuple(mode.roles) if isinstance(mode, HasRoles) else None


def metric_of(judge: object) -> str | None:
    """Return the name of a judge's partial credit, or None."""
    return judge.metric if isinstance(judge, HasMetric) else None


async def close_judge(judge: object) -> None:
    """Close a judge that holds something open."""
    if isinstance(judge, HasClose):
        await judge.close()
