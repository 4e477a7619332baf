"""Spread of repeated runs of the same samples, within and between samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, variance

from p2r_bench.stats.intervals import interval


@dataclass(frozen=True)
class Spread:
    """Scores of samples that were run several times.

    Attributes:
        repeats: Runs of each sample, k.
        mean: avg@k, the mean score over samples and repeats, with its 95 % interval by image.
        within: Standard deviation of a sample's scores around its own mean.
        between: Standard deviation of the samples' true means: the variance of their means less the part that `within`
            explains; 0 if the difference is negative.
        always, never, mixed: Samples whose scores are all 1, all 0, or neither.
    """

    samples: int
    repeats: int
    mean: float
    low: float
    high: float
    ci_method: str
    within: float
    between: float
    always: int
    never: int
    mixed: int


def spread(scores: Mapping[str, Sequence[float]], cluster_of: Mapping[str, str]) -> Spread:
    """Return the spread of scores from 0 to 1.

    Args:
        scores: Sample to its scores, as many for each and at least two.
        cluster_of: Sample to its cluster, the image.

    Raises:
        ValueError: No samples, one repeat, or different numbers of repeats.
    """
    sizes = {len(values) for values in scores.values()}
    if len(sizes) != 1 or (repeats := sizes.pop()) < 2:
        raise ValueError("a spread needs at least two repeats, and as many of every sample")
    credit: dict[str, float] = {}
    rows: dict[str, int] = {}
    for sample, values in scores.items():
        cluster = cluster_of[sample]
        credit[cluster] = credit.get(cluster, 0.0) + sum(values)
        rows[cluster] = rows.get(cluster, 0) + repeats
    low, high, method = interval(list(credit.values()), list(rows.values()))
    means = [fmean(values) for values in scores.values()]
    within = fmean(variance(values) for values in scores.values())
    total = variance(means) if len(means) > 1 else 0.0
    always, never = means.count(1.0), means.count(0.0)
    return Spread(
        samples=len(means),
        repeats=repeats,
        mean=fmean(means),
        low=low,
        high=high,
        ci_method=method,
        within=sqrt(within),
        between=sqrt(max(0.0, total - within / repeats)),
        always=always,
        never=never,
        mixed=len(means) - always - never,
    )
