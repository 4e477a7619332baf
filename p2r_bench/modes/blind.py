"""`blind`: the question without its image."""

from __future__ import annotations

from p2r_bench.adapter import Profile, TwoStage
from p2r_bench.types import Ask, Prediction, Role, Sample


class Blind:
    """Control: one call without an image. Accuracy above chance shows that the questions reveal their answers."""

    roles: tuple[Role, ...] = ("think",)

    async def solve(self, sample: Sample, ask: Ask, profile: Profile) -> Prediction:
        two = TwoStage(profile)
        thought = await ask(two.shown_request(sample, (), "think"))
        return Prediction(
            sample.id, answer=two.answer(thought.text, "think"), completions=(thought,)
        )
