"""Result of an extraction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Match:
    """An extracted value and where in the answer it stands.

    Attributes:
        value: What is compared with the right answer.
        span: Start and end, in characters of the text that was searched.
    """

    value: str
    span: tuple[int, int]
