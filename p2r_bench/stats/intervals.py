"""95 % intervals for a share of right answers, or a mean of scores from 0 to 1."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
_MOST = 2.0
"""Largest effective sample size of right and wrong rows, as a multiple of their number."""


def wilson(right: float, n: float, *, level: float = LEVEL) -> tuple[float, float]:
    """Return Wilson's score interval for `right` of `n` independent trials.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    JASA 22 (1927). Unlike the normal interval it stays within 0–1 and keeps a width at 0 and at n.

    Raises:
        ValueError: Not 0 <= right <= n with n > 0.
    """
    return _score_interval(right, n, NormalDist().inv_cdf((1 + level) / 2))


def _score_interval(right: float, n: float, z: float) -> tuple[float, float]:
    if not (n > 0 and 0 <= right <= n):
        raise ValueError(f"{right} of {n} is not a share")
    share = right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At the ends the formula gives 0 and 1 up to rounding.
    low = 0.0 if right == 0 else max(0.0, centre - half)
    high = 1.0 if right == n else min(1.0, centre + half)
    return low, high


def cluster_wilson(
    credit: npt.ArrayLike, n: npt.ArrayLike, *, level: float = LEVEL
) -> tuple[float, float]:
    """Return Wilson's interval at the effective sample size of clustered items, with a t quantile.

    The effective size is the number of independent trials with the variance that leaving out one cluster at a
    time (the jackknife) finds. It is at most twice the number of items where every credit is a whole number. The
    quantile is Student's with one degree of freedom less than clusters.

    Source: E. L. Korn and B. I. Graubard, Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data, Survey Methodology 24 (1998), with Wilson's interval in place of
    Clopper and Pearson's. `python -m benchmarks.coverage` simulates its coverage.

    Args:
        credit, n: Right items, or sum of the scores, and scored items of each cluster; shape (clusters,), with at
            least two clusters, every n at least 1, and shares that differ.

    Raises:
        ValueError: Fewer clusters, a cluster without items, or equal shares.
    """
    from scipy.special import stdtrit

    k, m = np.asarray(credit, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if len(m) < 2 or (m < 1).any():
        raise ValueError(
            "there must be at least two clusters, and each must have at least one item"
        )
    total_credit, total, clusters = math.fsum(k), float(m.sum()), len(m)
    share = min(total_credit / total, 1.0)
    left_out = (total_credit - k) / (total - m)
    # Exact sums, so that the order of the clusters does not show.
    variance = (clusters - 1) / clusters * math.fsum((share - left_out) ** 2)
    if variance == 0:
        raise ValueError("the clusters' shares do not differ")
    effective = share * (1 - share) / variance
    if (k == np.round(k)).all():
        effective = min(effective, _MOST * total)
    t = float(stdtrit(clusters - 1, (1 + level) / 2))
    return _score_interval(share * effective, effective, t)


def interval(credit: npt.ArrayLike, n: npt.ArrayLike) -> tuple[float, float, str]:
    """Return the interval of a share, or a mean of scores, over clustered items, and the method's name.

    The method is "wilson" when every cluster has one item with a credit of 0 or 1, and "wilson-jackknife" otherwise,
    which is `cluster_wilson`. The jackknife finds no variance over one cluster, or over clusters with equal shares (a
    model that gives every rotation the same letter). The method is then "wilson-clusters": Wilson's interval with each
    cluster as a single trial. This is the widest interval that the data justify, because scores from 0 to 1 vary no
    more than right and wrong do.

    Args:
        credit, n: Right items, or sum of the scores, and scored items of each cluster; shape (clusters,).

    Raises:
        ValueError: No cluster, or a cluster without items.
    """
    k, m = np.asarray(credit, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if len(m) == 0 or (m < 1).any():
        raise ValueError("there must be at least one cluster, and each must have at least one item")
    total_credit, total, clusters = float(k.sum()), float(m.sum()), len(m)
    if clusters == total and ((k == 0) | (k == 1)).all():
        return *wilson(total_credit, total), "wilson"
    if np.allclose(k * total, m * total_credit, rtol=0, atol=1e-9):
        mean = min(total_credit / total, 1.0)
        return *wilson(mean * clusters, clusters), "wilson-clusters"
    return *cluster_wilson(k, m), "wilson-jackknife"
