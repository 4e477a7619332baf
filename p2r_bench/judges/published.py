"""Letter extraction of the published P2R evaluation (arXiv 2607.01191)."""

from __future__ import annotations

from collections.abc import Sequence

from p2r_bench.judges.match import Match

STOCK_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option is",
    "The correct option is",
    "Best answer:",
    "Best option:",
    "Answer:",
    "Option:",
    "The correct answer",
    "The correct option",
)
"""Phrases removed in this order, case-sensitively, wherever they stand."""


def published_letters(task: str, options: int) -> str:
    """The letters that the published evaluation accepts for a task.

    A–F for MME-RealWorld and its lite version, A–D for V-Star and HR-Bench. Tasks it does not know
    (Synth-HR, third parties) are read like HR-Bench, with more letters when they have more options.

    Args:
        task: Name of the task.
        options: Number of options of the sample.
    """
    if task.startswith("MME-RealWorld"):
        return "ABCDEF"
    if task in {"V-Star", "HR-Bench", "Synth-HR"}:
        return "ABCD"
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: max(4, options)]


def original_letter(text: str, letters: str = "ABCD") -> Match | None:
    """Return the first of `letters` in the answer, even inside a word; None without one.

    Stock prefixes are removed first. The published rule also gives no answer for more than ten words without a letter;
    such an answer is None here as well.

    Args:
        text: The answer, already taken out of its tags.
        letters: The accepted letters, upper case.

    Returns:
        The letter and its place in `text`.
    """
    places: Sequence[int] = range(len(text))
    for prefix in STOCK_PREFIXES:
        if prefix in text:
            text, places = _without(text, places, prefix)
    for character, place in zip(text, places, strict=True):
        if character in letters:
            return Match(character, (place, place + 1))
    return None


def _without(text: str, places: Sequence[int], part: str) -> tuple[str, Sequence[int]]:
    """`text.replace(part, "")` that keeps where each character came from."""
    kept: list[int] = []
    start = 0
    while (at := text.find(part, start)) >= 0:
        kept += places[start:at]
        start = at + len(part)
    return text.replace(part, ""), [*kept, *places[start:]]
