"""A mode on one sample, without engine, pipeline or files."""

from __future__ import annotations

import asyncio

from p2r_bench.adapter import Profile, load_profile
from p2r_bench.testing.script import Replies, Script
from p2r_bench.types import Mode, Prediction, Sample


def solve(
    mode: Mode, sample: Sample, replies: Replies | Script, profile: str | Profile = "p2r"
) -> Prediction:
    """The mode's prediction when the model gives these replies.

    What was asked is in `prediction.completions[i].request`, and in `Script.requests` when a script is
    given, also after an error.

    Args:
        mode: An instance, such as `Majority()`.
        replies: See `Script`.
        profile: Name or path of a profile, or the profile.

    Raises:
        Exception: Whatever the mode raises, such as the EngineError that a script holds.
    """
    script = replies if isinstance(replies, Script) else Script(replies)
    resolved = profile if isinstance(profile, Profile) else load_profile(profile)
    return asyncio.run(mode.solve(sample, script, resolved))
