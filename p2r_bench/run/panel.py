"""`--mode panel`: the built-in modes and their controls by one name."""

from __future__ import annotations

from collections.abc import Sequence

PANEL = (
    *("default", "thinking", "p2r", "oracle"),
    *("blind", "p2r-blank", "p2r-random", "p2r-full", "crop-only", "p2r-shuffled"),
)
"""Modes of "panel"."""


def expanded(modes: Sequence[str]) -> tuple[str, ...]:
    """Return the modes with "panel" replaced by its modes, each once."""
    return tuple(
        dict.fromkeys(m for name in modes for m in (PANEL if name == "panel" else (name,)))
    )
