"""Paired comparison of two runs over the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from p2r_bench.stats.intervals import LEVEL

FLIPS = 20_000
SEED = 20_260_701
_DRAWN = 4_000_000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """Second run minus first, over the rows that both have scored.

    Attributes:
        before, after: Share of right rows, or mean score, 0 to 1.
        low, high: 95 % interval of the difference, by clusters.
        p: Two-sided mid-p value of the sign-flip test on clusters.
        p_mcnemar: Two-sided p of the exact McNemar test, which assumes independent rows.
        gained, lost: Rows in which only the second, or only the first, is better.
        rows, clusters: Number of each.
        detectable: Smallest true difference that this comparison would find with 80 % power; see `detectable`.
    """

    before: float
    after: float
    low: float
    high: float
    p: float
    p_mcnemar: float
    gained: int
    lost: int
    rows: int
    clusters: int
    detectable: float

    @property
    def value(self) -> float:
        """Difference: `after` − `before`."""
        return self.after - self.before


def paired_difference(
    before: Mapping[str, float], after: Mapping[str, float], cluster_of: Mapping[str, str]
) -> Difference:
    """Compare two runs row by row; rows of one cluster (an image and its rotations) go together.

    Args:
        before, after: Row to whether it is right, or to its score from 0 to 1.
        cluster_of: Row to its cluster.

    Raises:
        ValueError: The runs have no row in common.
    """
    rows = sorted(before.keys() & after.keys())
    first = np.fromiter((before[row] for row in rows), np.float64, len(rows))
    second = np.fromiter((after[row] for row in rows), np.float64, len(rows))
    numbers = {name: i for i, name in enumerate(dict.fromkeys(cluster_of[row] for row in rows))}
    clusters = np.fromiter((numbers[cluster_of[row]] for row in rows), np.int64, len(rows))
    return difference_of(first, second, clusters)


def difference_of(before: Floats, after: Floats, cluster: npt.NDArray[np.int64]) -> Difference:
    """Compare two arrays of scores, row by row.

    Args:
        before, after: Scores from 0 to 1; shape (rows,).
        cluster: Number of each row's cluster, from 0; shape (rows,).

    Raises:
        ValueError: There are no rows.
    """
    if not len(before):
        raise ValueError("the two runs have no row in common")
    change = after - before
    gains: Floats = np.bincount(cluster, weights=change).astype(np.float64)
    sizes = np.bincount(cluster).astype(np.float64)
    gained, lost = int((change > 0).sum()), int((change < 0).sum())
    low, high = difference_interval(gains, sizes)
    return Difference(
        before=float(before.mean()),
        after=float(after.mean()),
        low=low,
        high=high,
        p=sign_flip(gains),
        p_mcnemar=mcnemar(gained, lost),
        gained=gained,
        lost=lost,
        rows=len(change),
        clusters=len(sizes),
        detectable=detectable(float(np.sqrt((gains**2).sum())) / len(change)),
    )


def difference_interval(
    gains: Floats, sizes: Floats, *, level: float = LEVEL
) -> tuple[float, float]:
    """Return the t-interval of sum(gains) / sum(sizes) over clusters, with one artificial cluster added.

    The added cluster has the mean size, and counts half as a gain and half as a loss, each as large as the clusters
    that changed are in the root mean square (the whole cluster where none changed). Without it the interval has no width
    where nothing changed, and is too narrow where little did. Pseudo-observations in paired data: D. G. Bonett and R. M.
    Price, Adjusted Wald confidence interval for a difference of binomial proportions based on paired data, Journal of
    Educational and Behavioral Statistics 37 (2012). `python -m benchmarks.coverage` simulates its coverage.

    Args:
        gains, sizes: Sum of the differences, and number of rows, of each cluster; shape (clusters,).
    """
    from scipy.special import stdtrit

    clusters, mean_size = len(sizes), float(sizes.mean())
    changed = gains != 0
    step = float(np.sqrt(((gains / sizes)[changed] ** 2).mean())) if changed.any() else 1.0
    total = float(sizes.sum()) + mean_size
    value = float(gains.sum()) / total
    squares = float(((gains - value * sizes) ** 2).sum()) + mean_size**2 * (step**2 + value**2)
    error = float(np.sqrt((clusters + 1) / clusters * squares)) / total
    half = float(stdtrit(max(clusters - 1, 1), (1 + level) / 2)) * error
    return max(-1.0, value - half), min(1.0, value + half)


def sign_flip(gains: Floats) -> float:
    """Return the two-sided mid-p value of exchanging the runs' results in whole clusters.

    If the runs were alike, the two results of a cluster could be exchanged. p is the share of exchanges with a larger
    absolute difference, and half of those with an equal one: with few clusters the plain share rejects too rarely (H. O.
    Lancaster, Significance tests in discrete distributions, JASA 56 (1961)). p is 1 if the runs do not differ. Exact
    for whole gains; with graded scores over `FLIPS` random exchanges.

    Args:
        gains: Sum of the differences of each cluster; shape (clusters,).
    """
    changed = np.abs(gains[gains != 0])
    observed = abs(float(gains.sum()))
    if not len(changed) or observed < 1e-9:
        return 1.0
    if (changed == np.round(changed)).all():
        totals, shares = _exchanged(changed.astype(np.int64))
    else:
        totals = _drawn(changed)
        shares = np.full(len(totals), 1 / len(totals))
    larger = float(shares[totals > observed + 1e-9].sum())
    equal = float(shares[np.abs(totals - observed) <= 1e-9].sum())
    return min(1.0, larger + equal / 2)


def _exchanged(changed: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return every absolute total of random signs and its probability, from the characteristic function."""
    length = 2 * int(changed.sum()) + 1
    angles = 2 * np.pi * np.arange(length) / length
    transform = np.ones(length)
    for size, count in zip(*np.unique(changed, return_counts=True), strict=True):
        transform *= np.cos(angles * size) ** count
    shares = np.clip(np.fft.fft(transform).real / length, 0, None)
    places = np.arange(length)
    return np.minimum(places, length - places).astype(np.float64), shares


def _drawn(changed: Floats) -> Floats:
    rng = np.random.default_rng(SEED)
    step = max(1, _DRAWN // len(changed))
    totals = [
        rng.choice((-1.0, 1.0), (min(step, FLIPS - start), len(changed))) @ changed
        for start in range(0, FLIPS, step)
    ]
    return np.abs(np.concatenate(totals))


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided p value of the exact McNemar test: a sign test on the rows that changed."""
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5)))


def holm(values: Sequence[float]) -> list[float]:
    """Return p values adjusted for several comparisons.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    adjusted, highest = [0.0] * len(values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - place) * values[index]))
        adjusted[index] = highest
    return adjusted


def detectable(error: float, *, power: float = 0.8, level: float = LEVEL) -> float:
    """Return the smallest true difference found with this power, two-sided, by a test with this standard error."""
    quantile = NormalDist().inv_cdf
    return (quantile((1 + level) / 2) + quantile(power)) * error


def power_of(effect: float, error: float, *, level: float = LEVEL) -> float:
    """Return the power of a two-sided test with this standard error against a true difference."""
    normal = NormalDist()
    critical = normal.inv_cdf((1 + level) / 2)
    return normal.cdf(effect / error - critical) + normal.cdf(-effect / error - critical)
