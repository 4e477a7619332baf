"""Gemma 4; Gemini behind a URL uses the same boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from p2r_bench.families.base import Budget, Family
from p2r_bench.families.notation import BoxNotation
from p2r_bench.types import Size

TOKEN_BUDGETS = (70, 140, 280, 560, 1120)
"""Numbers of visual tokens of one image in the models' training."""


class Gemma(Family):
    """Images scaled up or down to a budget of 48×48-pixel tokens; boxes as `box_2d` in thousandths, y first."""

    name = "gemma"
    model_types = ("gemma4", "gemma4_unified")
    names = r"gemma-?4|gemini"
    boxes = BoxNotation(key="box_2d", order="yxyx")
    never_sampled = ("<|image|>", "<|image>", "<image|>", "<|audio|>", "<|video|>")
    alignment = 48
    settles = False

    def tokens(self, budget: Budget) -> int:
        """Return the largest of the family's token budgets inside a pixel budget."""
        return max(
            t for t in TOKEN_BUDGETS if t == 70 or t * self.alignment**2 <= budget.max_pixels
        )

    def problem(self, budget: Budget) -> str | None:
        """See `Family.problem`."""
        least = TOKEN_BUDGETS[0] * self.alignment**2
        if budget.max_pixels >= least:
            return None
        return f"max_pixels must be at least {least}, the family's smallest budget of {TOKEN_BUDGETS[0]} tokens"

    def fit(self, size: Size, budget: Budget) -> Size:
        """See `Family.fit`."""
        width, height = size
        side, most = self.alignment, self.tokens(budget)
        scale = math.sqrt(most * side**2 / (width * height))
        wide, high = (math.floor(scale * length / side) for length in (width, height))
        if not high:
            wide, high = min(width // height, most), 1
        elif not wide:
            wide, high = 1, min(height // width, most)
        return wide * side, high * side

    def visual_tokens(self, size: Size) -> int:
        """Return one token for each 48×48 pixels."""
        return (size[0] // self.alignment) * (size[1] // self.alignment)

    def most_visual_tokens(self, budget: Budget) -> int:
        """See `Family.most_visual_tokens`."""
        return self.tokens(budget)

    def processor_size(self, budget: Budget) -> dict[str, object]:
        """Return the processor's token budget."""
        return {"max_soft_tokens": self.tokens(budget)}

    def processor_arguments(self, sizes: Sequence[Size]) -> dict[str, Any]:
        """Return the smallest token budget that holds every image: the processor pads images to it."""
        most = max(map(self.visual_tokens, sizes), default=0)
        budget = next((t for t in TOKEN_BUDGETS if t >= most), TOKEN_BUDGETS[-1])
        return {"do_resize": False, "max_soft_tokens": budget}
