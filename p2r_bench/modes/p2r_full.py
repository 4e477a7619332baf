"""`p2r-full`: the annotated image without crops."""

from __future__ import annotations

from p2r_bench.adapter import Profile, TwoStage
from p2r_bench.modes.controlled import solve_with
from p2r_bench.types import Ask, Evidence, Prediction, Request, Role, Sample


class P2RFull:
    """Control: the reasoner sees the annotated image alone. The loss against p2r is the value of the crops' resolution."""

    roles: tuple[Role, ...] = ("perceive", "reason")

    async def solve(self, sample: Sample, ask: Ask, profile: Profile) -> Prediction:
        return await solve_with(_annotated, sample, ask, profile)


def _annotated(two: TwoStage, sample: Sample, evidence: Evidence) -> tuple[Evidence, Request]:
    shown = two.whole(sample) if evidence.annotated is None else evidence.annotated
    return evidence, two.shown_request(sample, (shown,))
