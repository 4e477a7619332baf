"""The two calls of p2r with a changed second request, shared by p2r's controls."""

from __future__ import annotations

from collections.abc import Callable

from p2r_bench.adapter import Profile, TwoStage
from p2r_bench.types import Ask, Evidence, Prediction, Request, Sample

Change = Callable[[TwoStage, Sample, Evidence], tuple[Evidence, Request]]
"""Function from adapter, sample and perceived evidence to the reasoner's evidence and request."""


async def solve_with(change: Change, sample: Sample, ask: Ask, profile: Profile) -> Prediction:
    """Perceive as p2r does, then reason on the evidence as modified by `change`."""
    two = TwoStage(profile)
    look = await ask(two.perceive_request(sample))
    evidence, request = change(two, sample, two.evidence(sample, look.text))
    thought = await ask(request)
    return Prediction(
        sample.id,
        answer=two.answer(thought.text),
        evidence=evidence,
        completions=(look, thought),
    )
