"""95 % intervals for a share of right answers, or a mean of scores from 0 to 1."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
RESAMPLES = 10_000
SEED = 20_260_701
_DRAWN = 4_000_000


def wilson(right: float, n: float, *, level: float = LEVEL) -> tuple[float, float]:
    """Return Wilson's score interval for `right` of `n` independent trials.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    JASA 22 (1927). Unlike the normal interval it stays within 0–1 and keeps a width at 0 and at n.

    Raises:
        ValueError: Not 0 <= right <= n with n > 0.
    """
    if not (n > 0 and 0 <= right <= n):
        raise ValueError(f"{right} of {n} is not a share")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At the ends the formula gives 0 and 1 up to rounding.
    low = 0.0 if right == 0 else max(0.0, centre - half)
    high = 1.0 if right == n else min(1.0, centre + half)
    return low, high


def cluster_bootstrap(
    credit: npt.ArrayLike,
    n: npt.ArrayLike,
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[float, float]:
    """Return the percentile interval of sum(credit) / sum(n), with whole clusters drawn with replacement.

    Clusters with equal counts are interchangeable, so how often each *kind* of cluster is drawn is
    multinomial: the same distribution as drawing clusters one by one, at a cost that does not grow
    with their number.

    Args:
        credit, n: Right items, or sum of the scores, and scored items of each cluster; shape (clusters,),
            every n at least 1.
        seed: Equal counts and seeds give equal intervals, whatever the order of the clusters.
    """
    counts = np.stack(
        [np.asarray(credit, dtype=np.float64), np.asarray(n, dtype=np.float64)], axis=1
    )
    if len(counts) == 0 or (counts[:, 1] < 1).any():
        raise ValueError(
            "credit and n need at least one cluster, and every cluster at least one item"
        )
    kinds, multiplicity = np.unique(counts, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    shares: list[npt.NDArray[np.float64]] = []
    # With graded scores every cluster may be a kind of its own: draw in steps of at most 32 MB.
    step = max(1, _DRAWN // len(kinds))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.multinomial(len(counts), multiplicity / len(counts), size=size) @ kinds
        shares.append(drawn[:, 0] / drawn[:, 1])
    low, high = np.quantile(np.concatenate(shares), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interval(credit: npt.ArrayLike, n: npt.ArrayLike) -> tuple[float, float, str]:
    """Return the interval of a share, or a mean of scores, over clustered items, and the method's name.

    The method is "wilson" when every cluster has one item with a credit of 0 or 1, and "cluster-bootstrap"
    otherwise. A bootstrap over one cluster, or over clusters with equal shares (a model that gives every rotation
    the same letter), has no spread. There the method is "wilson-clusters": Wilson's interval with each cluster as
    a single trial. It is the widest that the data justify, because scores from 0 to 1 vary no more than right
    and wrong do.

    Args:
        credit, n: Right items, or sum of the scores, and scored items of each cluster; shape (clusters,).
    """
    k, m = np.asarray(credit, dtype=np.float64), np.asarray(n, dtype=np.float64)
    total_credit, total, clusters = float(k.sum()), float(m.sum()), len(m)
    if clusters == total and ((k == 0) | (k == 1)).all():
        return *wilson(total_credit, total), "wilson"
    if np.allclose(k * total, m * total_credit, rtol=0, atol=1e-9):
        mean = min(total_credit / total, 1.0)
        return *wilson(mean * clusters, clusters), "wilson-clusters"
    return *cluster_bootstrap(k, m), "cluster-bootstrap"
