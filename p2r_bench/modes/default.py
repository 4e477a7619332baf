"""`default`: one call that asks for the bare answer."""

from __future__ import annotations

from p2r_bench.adapter import Profile
from p2r_bench.modes.single import solve_in_one_call
from p2r_bench.types import Ask, Prediction, Role, Sample


class Default:
    """One call on the whole image; the reply's whole text is the answer."""

    roles: tuple[Role, ...] = ("answer",)

    async def solve(self, sample: Sample, ask: Ask, profile: Profile) -> Prediction:
        return await solve_in_one_call(sample, ask, profile, "answer")
