"""Result of an extraction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Match:
    """An extracted value and its place in the answer.

    Attributes:
        value: Value to compare with the right answer.
        span: Start and end, in characters of the text that was searched.
    """

    value: str
    span: tuple[int, int]
