"""Prompts of the zoom tool, written for this project; question and ending come from the profile's prompt pack."""

from __future__ import annotations

import json

from p2r_bench import Profile, Recipe, Sample
from p2r_bench_zoom.tool import NAME, SIGNATURE

_EXAMPLE = json.dumps(
    {"name": NAME, "arguments": {"bbox_2d": ["x1", "y1", "x2", "y2"], "label": "what it shows"}}
)
TOOLS = f"""There is a tool that you can call. This is its signature:
<tools>
{json.dumps(SIGNATURE)}
</tools>
A call is written like this, with numbers for the corners, and ends your turn:
<tool_call>
{_EXAMPLE.replace('"x1", "y1", "x2", "y2"', "x1, y1, x2, y2")}
</tool_call>
What the tool returns comes back between <tool_response> and </tool_response>."""


def system(profile: Profile) -> str:
    """Return the profile's system message with the tool."""
    return f"{profile.pack.system}\n\n{TOOLS}"


def question(sample: Sample, profile: Profile, zooms: int) -> str:
    """Return the question with its options and instructions."""
    asked = profile.pack.question(sample, profile.option_style)
    return (
        f"{asked}\n\nZoom in on what is too small to see, {zooms} times at most and one region at a time. When you "
        f"have seen enough, reason between <think> and </think>. {profile.pack.endings[sample.answer_form]}"
    )


def shown(crop: Recipe, profile: Profile, rest: str) -> tuple[str | Recipe, ...]:
    """Return the user's turn after a call: the region, and the calls left."""
    return (
        "<tool_response>\n",
        crop,
        "\n" if profile.newline_after_image else "",
        f"\n</tool_response>\n{rest}",
    )


def refused(reason: str, rest: str) -> tuple[str | Recipe, ...]:
    """Return the user's turn after a call that cannot be run."""
    return (f"<tool_response>\nError: {reason}.\n</tool_response>\n{rest}",)


def rest(zooms: int) -> str:
    """Return a sentence with the number of calls left."""
    if not zooms:
        return "No call is left: answer now."
    return "One call is left." if zooms == 1 else f"{zooms} calls are left."
