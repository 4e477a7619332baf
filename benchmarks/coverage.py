"""Coverage of the 95 % intervals, and false positives of the paired test, by simulation.

    python -m benchmarks.coverage [--draws 10000] [--json]

Runs are simulated in HR-Bench's shape (200 questions of four rows) and with 25 clusters of four rows. Rows of a cluster
depend on each other: their shares are drawn from a beta distribution with the given intra-cluster correlation. Pairs of
runs differ in a share of the rows (the discordance); a quarter or none of that share is a true gain. The last line is one
JSON object with the lowest and the highest share of each shape, and with every single one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.output import emit, options_of
from p2r_bench.stats.intervals import interval
from p2r_bench.stats.paired import difference_interval, sign_flip

SHAPES = {"HR-Bench": (200, 4), "25 clusters": (25, 4)}
ACCURACIES = (0.3, 0.5, 0.7, 0.9)
CORRELATIONS = (0.0, 0.2, 0.5, 0.8)
DISCORDANCES = {"HR-Bench": (0.1, 0.2, 0.3), "25 clusters": (0.2, 0.3)}
PAIR_CORRELATIONS = (0.0, 0.3)
EFFECTS = (0.0, 0.25)

Shares = dict[str, float]


def rows_of(
    rng: np.random.Generator, clusters: int, size: int, share: float, correlation: float
) -> npt.NDArray[np.int64]:
    """Return a random number of right rows of each cluster; shape (clusters,)."""
    shares: Any = share
    if correlation:
        scale = (1 - correlation) / correlation
        shares = rng.beta(share * scale, (1 - share) * scale, clusters)
    return rng.binomial(size, shares, clusters)


def gains_of(
    rng: np.random.Generator,
    clusters: int,
    size: int,
    discordance: float,
    correlation: float,
    effect: float,
) -> npt.NDArray[np.float64]:
    """Return a draw of gained minus lost rows of each cluster; `effect` is the true difference per discordant row."""
    changed = rows_of(rng, clusters, size, discordance, correlation)
    return (2 * rng.binomial(changed, (1 + effect) / 2) - changed).astype(np.float64)


def interval_coverage(shape: str, draws: int, seed: int = 1) -> Shares:
    """Return the share of intervals that hold the true accuracy, by accuracy and correlation."""
    rng, (clusters, size) = np.random.default_rng(seed), SHAPES[shape]
    sizes, found = np.full(clusters, size), {}
    for accuracy in ACCURACIES:
        for correlation in CORRELATIONS:
            held = 0
            for _ in range(draws):
                low, high, _ = interval(rows_of(rng, clusters, size, accuracy, correlation), sizes)
                held += low <= accuracy <= high
            found[f"accuracy {accuracy}, correlation {correlation}"] = held / draws
    return found


def _pairs(shape: str) -> Iterator[tuple[float, float]]:
    for discordance in DISCORDANCES[shape]:
        for correlation in PAIR_CORRELATIONS:
            yield discordance, correlation


def difference_coverage(shape: str, draws: int, seed: int = 2) -> Shares:
    """Return the share of intervals that hold the true difference, by discordance, correlation and effect."""
    rng, (clusters, size) = np.random.default_rng(seed), SHAPES[shape]
    sizes, found = np.full(clusters, float(size)), {}
    for discordance, correlation in _pairs(shape):
        for effect in EFFECTS:
            held = 0
            for _ in range(draws):
                gains = gains_of(rng, clusters, size, discordance, correlation, effect)
                low, high = difference_interval(gains, sizes)
                held += low <= discordance * effect <= high
            name = f"discordance {discordance}, correlation {correlation}, gain {effect}"
            found[name] = held / draws
    return found


def false_positives(shape: str, draws: int, seed: int = 3) -> Shares:
    """Return the share of pairs without a difference that the sign-flip test rejects at 5 %."""
    rng, (clusters, size) = np.random.default_rng(seed), SHAPES[shape]
    return {
        f"discordance {discordance}, correlation {correlation}": sum(
            sign_flip(gains_of(rng, clusters, size, discordance, correlation, 0.0)) <= 0.05
            for _ in range(draws)
        )
        / draws
        for discordance, correlation in _pairs(shape)
    }


MEASURES = {
    "interval": interval_coverage,
    "difference": difference_coverage,
    "false_positives": false_positives,
}


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--draws", type=int, default=10_000, help="simulated runs [10000]")
    options = parser.parse_args()
    figures: dict[str, Any] = {name: {} for name in MEASURES}
    cells: dict[str, Any] = {}
    lines = []
    for name, measure in MEASURES.items():
        for shape in SHAPES:
            found = measure(shape, options.draws)
            cells[f"{name}, {shape}"] = found
            low, high = min(found.values()), max(found.values())
            figures[name][shape] = [round(low, 4), round(high, 4)]
            lines.append((f"{100 * low:.1f}–{100 * high:.1f} %", f"{name}, {shape}"))
            lines += [(f"{100 * value:.1f} %", f"  {cell}") for cell, value in found.items()]
    emit("coverage", {**figures, "cells": cells}, lines, as_json=options.json)


if __name__ == "__main__":
    main()
