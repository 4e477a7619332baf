"""`p2r-blank`: p2r with its crops blacked out."""

from __future__ import annotations

from dataclasses import replace

from p2r_bench.adapter import Profile, TwoStage
from p2r_bench.modes.controlled import solve_with
from p2r_bench.types import Ask, Evidence, Prediction, Request, Role, Sample


class P2RBlank:
    """Control: every crop is black, at its own size. A result near p2r's shows that the crops were not needed."""

    roles: tuple[Role, ...] = ("perceive", "reason")

    async def solve(self, sample: Sample, ask: Ask, profile: Profile) -> Prediction:
        return await solve_with(_blank, sample, ask, profile)


def _blank(two: TwoStage, sample: Sample, evidence: Evidence) -> tuple[Evidence, Request]:
    crops = tuple(replace(crop, blank=True) for crop in evidence.crops)
    shown = replace(evidence, crops=crops)
    return shown, two.reason_request(sample, shown)
