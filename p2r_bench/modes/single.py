"""One call on the whole image: what `default` and `thinking` have in common."""

from __future__ import annotations

from p2r_bench.adapter import Profile, TwoStage
from p2r_bench.types import Ask, Prediction, Sample


async def solve_in_one_call(sample: Sample, ask: Ask, profile: Profile, role: str) -> Prediction:
    """Ask once in a role, and read the answer by the profile's policy for that role."""
    two = TwoStage(profile)
    completion = await ask(two.single_request(sample, role))
    return Prediction(
        sample.id, answer=two.answer(completion.text, role), completions=(completion,)
    )
