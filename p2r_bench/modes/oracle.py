"""`oracle`: p2r with the ground-truth boxes in place of the perceiver's."""

from __future__ import annotations

from p2r_bench.adapter import Profile, TwoStage
from p2r_bench.types import Ask, Prediction, Role, Sample


class Oracle:
    """Stage 2 of p2r with ground-truth boxes: the result of perfect perception. Samples without boxes are not applicable."""

    roles: tuple[Role, ...] = ("reason",)

    async def solve(self, sample: Sample, ask: Ask, profile: Profile) -> Prediction:
        if not sample.boxes:
            return Prediction(sample.id, status="not_applicable")
        two = TwoStage(profile)
        evidence = two.evidence_from_boxes(sample, sample.boxes)
        thought = await ask(two.reason_request(sample, evidence))
        return Prediction(
            sample.id, answer=two.answer(thought.text), evidence=evidence, completions=(thought,)
        )
