"""Extraction of a choice question's options from its text."""

from __future__ import annotations

import re

_LINE = re.compile(r"^[ \t]*\(?([A-Z])[.):][ \t]*", re.MULTILINE)
_INLINE = re.compile(r"\(([A-Z])\)[ \t]*")
_HEADER = re.compile(r"\s*\b(?:options?|choices?)\b[^\S\n]*:?\s*\Z", re.IGNORECASE)
_INSTRUCTION = re.compile(
    r"\n\s*(?:please\s+)?(?:answer|select|choose|respond|reply)\b[^\n]*\b(?:letters?|options?|choices?)\b[^\n]*\s*\Z",
    re.IGNORECASE,
)


def split_options(text: str) -> tuple[str, dict[str, str]] | None:
    """Return the bare question and its options, or None when the text holds no options A, B, … in order.

    Options stand on lines of their own ("A. red", "(A) red", "A) red") or one after the other ("(A) red (B) blue").
    A heading such as "Options:" before them and a last line that asks for the letter belong to neither.
    """
    text = _INSTRUCTION.sub("", text.strip())
    for mark in (_LINE, _INLINE):
        marks = _in_order(list(mark.finditer(text)))
        if marks is None:
            continue
        ends = [*(m.start() for m in marks[1:]), len(text)]
        options = {m[1]: text[m.end() : end].strip() for m, end in zip(marks, ends, strict=True)}
        question = _HEADER.sub("", text[: marks[0].start()]).strip()
        if question and all(options.values()):
            return question, options
    return None


def _in_order(marks: list[re.Match[str]]) -> list[re.Match[str]] | None:
    """Return the last run of at least two marks A, B, …; None if another mark follows the run."""
    starts = [n for n, m in enumerate(marks) if m[1] == "A"]
    if not starts:
        return None
    run = marks[starts[-1] :]
    letters = [m[1] for m in run]
    return run if len(run) > 1 and letters == [chr(ord("A") + n) for n in range(len(run))] else None
