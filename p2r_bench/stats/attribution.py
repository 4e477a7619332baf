"""Attribution of errors to perceiving or reasoning, on samples with ground-truth boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from p2r_bench.stats.intervals import interval

COVERED = 0.9
"""Share of a ground-truth box's area that one crop has to hold."""
BINS = 4

OUTCOMES = (
    "right",
    "right without localisation",
    "perception error",
    "reasoning error",
    "perception and reasoning error",
    "wrong without localisation",
)
"""Outcomes of a sample. Without an oracle run, the last one replaces the third and the fifth."""

Corners = tuple[float, float, float, float]


@dataclass(frozen=True)
class Case:
    """One sample of a run that names boxes.

    Attributes:
        cluster: The image.
        area: Area of the smallest ground-truth box as a share of the image.
        right: True if the run's answer is right.
        localised: True if the crops hold every ground-truth box; see `localised`.
        oracle: True if the answer with ground-truth boxes is right; None if not known.
    """

    cluster: str
    area: float
    right: bool
    localised: bool
    oracle: bool | None = None

    @property
    def outcome(self) -> str:
        """One of `OUTCOMES`.

        A wrong answer on a localised sample is a reasoning error. On any other sample it is a perception error if the
        ground-truth boxes lead to the right answer, else both kinds of error.
        """
        if self.right:
            return "right" if self.localised else "right without localisation"
        if self.localised:
            return "reasoning error"
        if self.oracle is None:
            return "wrong without localisation"
        return "perception error" if self.oracle else "perception and reasoning error"


@dataclass(frozen=True)
class Share:
    """Share of the samples with its 95 % interval; `count` is the number of samples in it."""

    count: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """Samples whose smallest ground-truth box has an area between `low` and `high`, both included."""

    low: float
    high: float
    samples: int
    localised: Share
    right: Share
    oracle: Share | None


def localised(truth: Sequence[Corners], crops: Sequence[Corners]) -> bool:
    """Return whether every ground-truth box has at least 90 % of its area in one crop.

    Args:
        truth: Ground-truth boxes.
        crops: Rectangles of the crops in the same unit.
    """
    return all(any(_held(box, crop) >= COVERED for crop in crops) for box in truth)


def _held(box: Corners, crop: Corners) -> float:
    """Return the share of a box's area that lies in a crop."""
    width = min(box[2], crop[2]) - max(box[0], crop[0])
    height = min(box[3], crop[3]) - max(box[1], crop[1])
    return max(0.0, width) * max(0.0, height) / ((box[2] - box[0]) * (box[3] - box[1]))


def counts(cases: Iterable[Case]) -> dict[tuple[bool, bool, bool | None], int]:
    """Return the number of samples by (right, localised, oracle right)."""
    found: dict[tuple[bool, bool, bool | None], int] = {}
    for case in cases:
        key = (case.right, case.localised, case.oracle)
        found[key] = found.get(key, 0) + 1
    return found


def outcome_shares(cases: Sequence[Case]) -> dict[str, Share]:
    """Return the share of every outcome that occurs or could occur, in the order of `OUTCOMES`."""
    known = all(case.oracle is not None for case in cases)
    skipped = OUTCOMES[5:] if known else (OUTCOMES[2], OUTCOMES[4])
    return {
        name: share(cases, [case.outcome == name for case in cases])
        for name in OUTCOMES
        if name not in skipped or any(case.outcome == name for case in cases)
    }


def by_area(cases: Sequence[Case], bins: int = BINS) -> list[Bin]:
    """Return the curve over box area: samples in bins of about equal size, smallest boxes first.

    Samples with equal areas share a bin, so there may be fewer bins.
    """
    ordered = sorted(cases, key=lambda case: case.area)
    edges = np.quantile([case.area for case in ordered], np.linspace(0, 1, bins + 1)[1:-1])
    groups: dict[int, list[Case]] = {}
    for case in ordered:
        groups.setdefault(int(np.searchsorted(edges, case.area)), []).append(case)
    return [_bin(group) for group in groups.values()]


def _bin(cases: Sequence[Case]) -> Bin:
    judged = [case for case in cases if case.oracle is not None]
    return Bin(
        cases[0].area,
        cases[-1].area,
        len(cases),
        share(cases, [case.localised for case in cases]),
        share(cases, [case.right for case in cases]),
        share(judged, [bool(case.oracle) for case in judged]) if judged else None,
    )


def share(cases: Sequence[Case], holds: Sequence[bool]) -> Share:
    """Return the share of the samples for which `holds` is True, with an interval by image.

    Raises:
        ValueError: There are no samples.
    """
    credit: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for case, held in zip(cases, holds, strict=True):
        credit[case.cluster] = credit.get(case.cluster, 0) + held
        sizes[case.cluster] = sizes.get(case.cluster, 0) + 1
    low, high, _ = interval(list(credit.values()), list(sizes.values()))
    return Share(sum(holds), sum(holds) / len(holds), low, high)
