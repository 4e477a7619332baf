"""Several runs over the same samples: pairwise differences, and ranks as tied sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from p2r_bench.stats.intervals import interval
from p2r_bench.stats.paired import Difference, difference_of, holm

ALPHA = 0.05
Key = tuple[str, int]


@dataclass(frozen=True)
class Standing:
    """A run's value over the compared samples, with its interval, and the ranks it may hold.

    Attributes:
        rank: (best, worst): 1 + the number of runs that are significantly better, and the number of runs minus those
            that are significantly worse. Runs with overlapping ranks are tied.
    """

    value: float
    low: float
    high: float
    ci_method: str
    rank: tuple[int, int]


@dataclass(frozen=True)
class Pair:
    """The difference between two runs, by their positions: `second` minus `first`.

    Attributes:
        p_holm: The sign-flip p value after Holm's correction for all pairs.
        gained, lost: Samples in which only the second, or only the first, is better.
    """

    first: int
    second: int
    difference: Difference
    p_holm: float
    gained: tuple[Key, ...]
    lost: tuple[Key, ...]

    @property
    def significant(self) -> bool:
        """True if the difference is significant at 5 % after the correction."""
        return self.p_holm <= ALPHA


@dataclass(frozen=True)
class Comparison:
    """Comparison of runs, in their order, over the samples that all of them have scored."""

    samples: int
    clusters: int
    standings: tuple[Standing, ...]
    pairs: tuple[Pair, ...]


def compared(
    scores: Sequence[Mapping[Key, float]], cluster_of: Mapping[Key, str], keys: Sequence[Key]
) -> Comparison:
    """Compare runs over samples.

    Args:
        scores: For each run, sample and repeat to the score from 0 to 1.
        cluster_of: Sample and repeat to its cluster.
        keys: The samples to compare; every run has a score for each.

    Raises:
        ValueError: Fewer than two runs, or no samples.
    """
    if len(scores) < 2 or not keys:
        raise ValueError("a comparison needs two runs and a sample that both have scored")
    table = np.array([[run[key] for key in keys] for run in scores])
    numbers = {
        name: number for number, name in enumerate(dict.fromkeys(cluster_of[k] for k in keys))
    }
    cluster = np.array([numbers[cluster_of[key]] for key in keys])
    positions = list(combinations(range(len(scores)), 2))
    differences = [difference_of(table[a], table[b], cluster) for a, b in positions]
    adjusted = holm([difference.p for difference in differences])
    pairs = tuple(
        Pair(
            a,
            b,
            difference,
            p,
            gained=_where(table[b] > table[a], keys),
            lost=_where(table[b] < table[a], keys),
        )
        for (a, b), difference, p in zip(positions, differences, adjusted, strict=True)
    )
    sizes = np.bincount(cluster)
    standings = []
    for number, row in enumerate(table):
        low, high, method = interval(np.bincount(cluster, weights=row), sizes)
        better, worse = _significant(number, pairs)
        standings.append(
            Standing(float(row.mean()), low, high, method, (1 + better, len(scores) - worse))
        )
    return Comparison(len(keys), len(sizes), tuple(standings), pairs)


def _where(chosen: npt.NDArray[np.bool_], keys: Sequence[Key]) -> tuple[Key, ...]:
    return tuple(keys[int(i)] for i in np.flatnonzero(chosen))


def _significant(number: int, pairs: Sequence[Pair]) -> tuple[int, int]:
    """Return the numbers of runs that are significantly better, and worse, than run `number`."""
    better = worse = 0
    for pair in pairs:
        if pair.significant and number in (pair.first, pair.second):
            ahead = pair.second if pair.difference.value > 0 else pair.first
            better += ahead != number
            worse += ahead == number
    return better, worse
