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
    `<think>` block; "tag_or_whole" prefers the tag. An empty answer is no answer.
    """
    policy = profile.answers.for_role(role)
    answer: str | None = None
    if policy != "whole":
        tagged = _TAGGED.findall(text)
        answer = tagged[-1] if tagged else None
    if answer is None and policy != "tag":
        answer = text.rpartition("</think>")[2]
    return (answer or "").strip() or None
