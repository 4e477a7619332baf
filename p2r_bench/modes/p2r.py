"""`p2r`: perceive, then reason (arXiv 2607.01191)."""

from __future__ import annotations

from p2r_bench.adapter import Profile, TwoStage
from p2r_bench.types import Ask, Prediction, Role, Sample


class P2R:
    """The perceiver names regions; the reasoner answers from the annotated image and the crops."""

    roles: tuple[Role, ...] = ("perceive", "reason")

    async def solve(self, sample: Sample, ask: Ask, profile: Profile) -> Prediction:
        two = TwoStage(profile)
        look = await ask(two.perceive_request(sample))
        evidence = two.evidence(sample, look.text)
        thought = await ask(two.reason_request(sample, evidence))
        return Prediction(
            sample.id,
            answer=two.answer(thought.text),
            evidence=evidence,
            completions=(look, thought),
        )
