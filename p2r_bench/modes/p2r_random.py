"""`p2r-random`: p2r with boxes of the same sizes elsewhere."""

from __future__ import annotations

import random
from collections.abc import Sequence

from p2r_bench.adapter import Profile, TwoStage
from p2r_bench.modes.controlled import solve_with
from p2r_bench.types import Ask, Box, Evidence, Prediction, Request, Role, Sample

_DRAWS = 64
"""Positions tried per box; the one with the least overlap is taken."""


class P2RRandom:
    """Control: each of the perceiver's boxes is moved to a random other place.

    A result near p2r's shows that the place of the boxes does not matter.

    Args:
        seed: Seed of the places, combined with the sample's id.
    """

    roles: tuple[Role, ...] = ("perceive", "reason")

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    async def solve(self, sample: Sample, ask: Ask, profile: Profile) -> Prediction:
        return await solve_with(self._moved, sample, ask, profile)

    def _moved(self, two: TwoStage, sample: Sample, evidence: Evidence) -> tuple[Evidence, Request]:
        if not evidence.boxes:
            return evidence, two.reason_request(sample, evidence)
        rng = random.Random(f"{self._seed}:{sample.id}")
        moved = [elsewhere(box, evidence.boxes, rng) for box in evidence.boxes]
        shown = two.evidence_from_boxes(sample, moved)
        return shown, two.reason_request(sample, shown)


def elsewhere(box: Box, named: Sequence[Box], rng: random.Random) -> Box:
    """Return a box of the same size inside the image, overlapping the named ones as little as `_DRAWS` draws allow.

    A side longer than the image is cut to it.
    """
    x1, y1, x2, y2 = box.xyxy
    width, height = min(x2 - x1, 1000.0), min(y2 - y1, 1000.0)
    placed = []
    for _ in range(_DRAWS):
        left, top = rng.uniform(0, 1000 - width), rng.uniform(0, 1000 - height)
        corners = (left, top, left + width, top + height)
        placed.append((sum(_shared(corners, other.xyxy) for other in named), corners))
    return Box(min(placed)[1], box.label)


def _shared(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the area that two rectangles share."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)
