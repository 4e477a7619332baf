"""`crop-only`: the perceiver's crops without the whole image."""

from __future__ import annotations

from p2r_bench.adapter import Profile, TwoStage
from p2r_bench.modes.controlled import solve_with
from p2r_bench.types import Ask, Evidence, Prediction, Request, Role, Sample


class CropOnly:
    """Control: the reasoner sees the crops alone; without a crop it sees no image. The loss against p2r measures context."""

    roles: tuple[Role, ...] = ("perceive", "reason")

    async def solve(self, sample: Sample, ask: Ask, profile: Profile) -> Prediction:
        return await solve_with(_crops, sample, ask, profile)


def _crops(two: TwoStage, sample: Sample, evidence: Evidence) -> tuple[Evidence, Request]:
    return evidence, two.shown_request(sample, evidence.crops)
