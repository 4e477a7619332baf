"""Taking the answer out of a completion."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2r_bench.adapter.profile import Profile

_TAGGED = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.DOTALL)


def extract_answer(text: str, role: str, profile: Profile) -> str | None:
    """The answer in a completion's text, stripped, or None when there is none.

    By the profile's answer policy for the role: "tag" takes what stands in the last complete
    `<answer>…</answer>` pair and nothing else; "whole" takes the whole text after any closed
    `<think>` block; "tag_or_whole" prefers the tag, and without one takes all of the text, as the
    published training code does. An empty answer is no answer.
    """
    policy = profile.answers.for_role(role)
    if policy == "whole":
        return text.rpartition("</think>")[2].strip() or None
    tagged: list[str] = _TAGGED.findall(text)
    if tagged:
        return tagged[-1].strip() or None
    return (text.strip() or None) if policy == "tag_or_whole" else None
