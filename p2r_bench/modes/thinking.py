"""`thinking`: one call that reasons before it answers."""

from __future__ import annotations

from p2r_bench.adapter import Profile
from p2r_bench.modes.single import solve_in_one_call
from p2r_bench.types import Ask, Prediction, Role, Sample


class Thinking:
    """One call on the whole image in the reasoning format; the answer stands between tags."""

    roles: tuple[Role, ...] = ("think",)

    async def solve(self, sample: Sample, ask: Ask, profile: Profile) -> Prediction:
        return await solve_in_one_call(sample, ask, profile, "think")
