"""A mode on one sample, without engine, pipeline or files."""

from __future__ import annotations

import asyncio

from p2r_bench.adapter import Profile, load_profile
from p2r_bench.testing.script import Replies, Script
from p2r_bench.types import Mode, Prediction, Sample


def solve(
    mode: Mode, sample: Sample, replies: Replies | Script, profile: str | Profile = "p2r"
) -> Prediction:
    """Return the mode's prediction for these replies of the model.

    The requests are in `prediction.completions[i].request`, and in `Script.requests` if the replies are a script, also
    after an error.

    Args:
        mode: An instance, such as `Majority()`.
        replies: See `Script`.
        profile: Name or path of a profile, or the profile.

    Raises:
        Exception: Errors of the mode, such as a scripted EngineError.
    """
    script = replies if isinstance(replies, Script) else Script(replies)
    resolved = profile if isinstance(profile, Profile) else load_profile(profile)
    return asyncio.run(mode.solve(sample, script, resolved))
