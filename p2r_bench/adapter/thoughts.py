"""Removal of thoughts from a reply, so that answers, boxes and verdicts are not read in them."""

from __future__ import annotations

import re
from typing import Literal

ThoughtPolicy = Literal["cut", "opened", "keep"]

_TAG = re.compile(
    r"<(?P<a>/?)(?:think(?:ing)?|thoughts?|seed:think)>|\[(?P<b>/?)THINK\]|◁(?P<c>/?)think▷"
    r"|<\|(?:begin|(?P<d>end))_of_thought\|>",
    re.IGNORECASE | re.ASCII,
)


def said(text: str, policy: ThoughtPolicy) -> str:
    """Return the part of a reply outside thoughts, by a profile's `thoughts`.

    "cut" is `without_thoughts`. "opened" is the same for a chat template that always opens a thought: a reply without
    `</think>` was cut off while thinking. "keep" is the whole text.
    """
    if policy == "keep":
        return text
    return without_thoughts(f"<think>{text}" if policy == "opened" else text)


def without_thoughts(text: str) -> str:
    """Return a reply without its thoughts.

    A thought is the text inside `<think>…</think>`, the text after a `<think>` that never closes, and the
    text before an unopened `</think>` (a chat template may have written the opening tag). Case does not matter. The
    tags `<thinking>`, `<thought>`, `<thoughts>`, `<seed:think>`, `[THINK]` (Mistral), `◁think▷` (Kimi) and
    `<|begin_of_thought|>` … `<|end_of_thought|>` count as the same tag. The parts around a thought are joined by a line
    break. Takes linear time.
    """
    kept = [text[start:end] for start, end in spoken(text)]
    return kept[0] if len(kept) == 1 else "\n".join(filter(None, kept))


def spoken(text: str) -> list[tuple[int, int]]:
    """Return the spans, in order, of the parts of a reply outside thoughts."""
    kept: list[tuple[int, int]] = []
    start = 0
    thinking = False
    for tag in _TAG.finditer(text):
        closes = any(tag.groups())
        if closes and not thinking:
            kept.clear()
        elif not closes and not thinking:
            kept.append((start, tag.start()))
        thinking = not closes
        start = tag.end()
    if not thinking:
        kept.append((start, len(text)))
    return kept
