"""Extraction of the answer from a completion."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from p2r_bench.adapter.thoughts import said

if TYPE_CHECKING:
    from p2r_bench.adapter.profile import Profile, TagCase, TagPair

_TAG = re.compile(r"<(/?)answer>")
_TAG_ANY_CASE = re.compile(_TAG.pattern, re.IGNORECASE | re.ASCII)


def extract_answer(text: str, role: str, profile: Profile) -> str | None:
    """Return the answer in a completion's text, stripped, or None when there is none.

    Thoughts are cut first, by the profile's `thoughts`. Then the policy for the role applies: "tag" takes only the
    content of the first or last `<answer>…</answer>` pair (`answers.pair`); "whole" takes all of the text;
    "tag_or_whole" prefers the tag, and without one takes all of the text, as the published training code does. An empty
    answer counts as none, and so does an answer whose tag never closes.
    """
    text = said(text, profile.thoughts)
    answers = profile.answers
    policy = answers.for_role(role)
    if policy != "whole":
        content = _tagged(text, answers.pair, answers.tag_case)
        if content is not None or policy == "tag":
            return (content or "").strip() or None
    return text.strip() or None


def _tagged(text: str, pair: TagPair, case: TagCase) -> str | None:
    """Return the content of the first or last complete pair, or None.

    The first pair runs from the first opening tag to the next closing one, as `<answer>(.*?)</answer>`
    matches. The last pair holds no other opening tag.
    """
    content: str | None = None
    start: int | None = None
    for tag in (_TAG if case == "exact" else _TAG_ANY_CASE).finditer(text):
        if not tag[1]:
            start = start if pair == "first" and start is not None else tag.end()
        elif start is not None:
            content = text[start : tag.start()]
            if pair == "first":
                return content
            start = None
    return content
