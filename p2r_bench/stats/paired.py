"""Paired comparison of two runs over the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from p2r_bench.stats.intervals import LEVEL, RESAMPLES, SEED

FLIPS = 100_000


@dataclass(frozen=True)
class Difference:
    """Second run minus first, over the rows that both have scored.

    Attributes:
        before, after: Share of right rows, 0 to 1.
        low, high: 95 % interval of the difference, by bootstrap over clusters.
        p: Two-sided, by flipping whole clusters between the runs.
        gained, lost: Rows that only the second, or only the first, has right.
        rows, clusters: Number of each.
    """

    before: float
    after: float
    low: float
    high: float
    p: float
    gained: int
    lost: int
    rows: int
    clusters: int

    @property
    def value(self) -> float:
        """after − before."""
        return self.after - self.before


def paired_difference(
    before: Mapping[str, bool],
    after: Mapping[str, bool],
    cluster_of: Mapping[str, str],
    *,
    seed: int = SEED,
) -> Difference:
    """Compare two runs row by row; rows of one cluster (an image and its rotations) go together.

    p comes from a paired permutation test: if the runs were alike, the two results of a cluster could be exchanged.
    It is the share of `FLIPS` random exchanges, the observed one included, that differ at least as much.

    Args:
        before, after: Row to whether it is right.
        cluster_of: Row to its cluster.

    Raises:
        ValueError: The runs have no row in common.
    """
    rows = sorted(before.keys() & after.keys())
    if not rows:
        raise ValueError("the two runs have no row in common")
    by_cluster: dict[str, list[int]] = {}
    for row in rows:
        by_cluster.setdefault(cluster_of[row], []).append(int(after[row]) - int(before[row]))
    gains = np.array([sum(changes) for changes in by_cluster.values()], dtype=np.int64)
    sizes = np.array([len(changes) for changes in by_cluster.values()], dtype=np.int64)
    rng = np.random.default_rng(seed)
    low, high = _interval(gains, sizes, rng)
    changes = [int(after[row]) - int(before[row]) for row in rows]
    return Difference(
        before=sum(bool(before[row]) for row in rows) / len(rows),
        after=sum(bool(after[row]) for row in rows) / len(rows),
        low=low,
        high=high,
        p=_flipped(gains, rng),
        gained=changes.count(1),
        lost=changes.count(-1),
        rows=len(rows),
        clusters=len(by_cluster),
    )


def _interval(
    gains: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], rng: np.random.Generator
) -> tuple[float, float]:
    drawn = rng.integers(0, len(gains), (RESAMPLES, len(gains)))
    differences = gains[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _flipped(gains: npt.NDArray[np.int64], rng: np.random.Generator) -> float:
    """Return p. Clusters with equal differences are flipped together, as one binomial draw."""
    total = np.zeros(FLIPS, dtype=np.int64)
    for size, count in zip(*np.unique(np.abs(gains), return_counts=True), strict=True):
        total += size * (2 * rng.binomial(count, 0.5, FLIPS) - count)
    at_least = int((np.abs(total) >= abs(int(gains.sum()))).sum())
    return (at_least + 1) / (FLIPS + 1)
