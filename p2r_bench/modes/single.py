"""One call on the whole image, shared by `default` and `thinking`."""

from __future__ import annotations

from p2r_bench.adapter import Profile, TwoStage
from p2r_bench.types import Ask, Prediction, Sample


async def solve_in_one_call(sample: Sample, ask: Ask, profile: Profile, role: str) -> Prediction:
    """Send one request in a role, and extract the answer by the profile's policy for that role."""
    two = TwoStage(profile)
    completion = await ask(two.single_request(sample, role))
    return Prediction(
        sample.id, answer=two.answer(completion.text, role), completions=(completion,)
    )
