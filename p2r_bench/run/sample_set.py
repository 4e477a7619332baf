"""Samples from the caller instead of a registered task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from p2r_bench.types import Cell, DataSource, Metric, Sample


@dataclass(frozen=True)
class SampleSet:
    """Samples for a session, used instead of a registered task; implements `Task`.

    The run is named after `RunSpec.task`, which need not be registered.

    Attributes:
        by_index: Position in the data set to sample, in order; images by reference or as bytes.
        digest: Identity of the whole data set. A run continues only with the same one.
        ids: Ids of all samples of the data set, if it has more than `by_index`. The run is complete when each has an
            outcome.
        scorer: Headline scorer. None for the default one.
        judged: False if the answers are judged elsewhere. The run then has no verdicts and no leaderboard row.
    """

    by_index: Mapping[int, Sample]
    digest: str
    ids: Sequence[str] = ()
    scorer: str | None = None
    judged: bool = True

    name = "samples"
    metrics = (Metric(),)

    def samples(self, source: DataSource) -> Iterator[Sample]:
        """See `Task.samples`."""
        return iter(self.by_index.values())

    def data_digest(self, source: DataSource) -> str:
        """See `Task.data_digest`."""
        return self.digest

    def cells(self, sample: Sample) -> tuple[Cell, ...]:
        """See `Task.cells`. Every sample counts in the overall figure only."""
        return ((None, None),)
