"""Models without known rules: their server decides the size of images."""

from __future__ import annotations

import math

from p2r_bench.families.base import Budget, Family
from p2r_bench.types import Size


class Server(Family):
    """Images are shrunk into the budget and keep their shape; boxes as `bbox_2d` in thousandths."""

    name = "server"
    settles = False

    def fit(self, size: Size, budget: Budget) -> Size:
        """See `Family.fit`. Never enlarges."""
        width, height = size
        scale = min(1.0, math.sqrt(budget.max_pixels / (width * height)))
        return max(1, int(width * scale)), max(1, int(height * scale))

    def visual_tokens(self, size: Size) -> None:
        """Return None: the server counts them."""
        return None

    def most_visual_tokens(self, budget: Budget) -> None:
        """Return None: not known."""
        return None
