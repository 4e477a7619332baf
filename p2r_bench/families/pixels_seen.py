"""Models behind a URL whose boxes are in pixels of the image that they see, such as Claude."""

from __future__ import annotations

import math

from p2r_bench.families.base import Budget, Family
from p2r_bench.families.notation import BoxNotation
from p2r_bench.types import Size

LONGEST_SIDE = 1568
MOST_PIXELS = 1_150_000
"""Limits above which the provider shrinks an image itself (Anthropic's vision guide)."""


class PixelsSeen(Family):
    """Images are shrunk below the provider's limit, so that the image sent is the image seen."""

    name = "pixels-seen"
    names = r"claude"
    boxes = BoxNotation(scale="pixels")
    settles = False

    def fit(self, size: Size, budget: Budget) -> Size:
        """See `Family.fit`. Never enlarges."""
        width, height = size
        most = min(budget.max_pixels, MOST_PIXELS)
        scale = min(1.0, LONGEST_SIDE / max(size), math.sqrt(most / (width * height)))
        return max(1, int(width * scale)), max(1, int(height * scale))

    def visual_tokens(self, size: Size) -> None:
        """Return None: the provider counts them."""
        return None

    def most_visual_tokens(self, budget: Budget) -> None:
        """Return None: not known."""
        return None
