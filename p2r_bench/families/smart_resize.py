"""The size rule of the Qwen-VL and GLM-V families (transformers' `smart_resize`)."""

from __future__ import annotations

import math

from p2r_bench.errors import ImageError
from p2r_bench.families.base import Budget, Family
from p2r_bench.types import Size

MAX_ASPECT_RATIO = 200
"""Largest aspect ratio that the rule accepts."""


class SmartResize(Family):
    """Both sides multiples of `factor`, about the same aspect ratio, the area inside the budget."""

    factor: int
    frames = 1
    """Frames per image in the processor's own limits."""

    def fit(self, size: Size, budget: Budget) -> Size:
        """See `Family.fit`.

        The rule rounds both sides to multiples of the factor, then scales down, rounding down, when the area is
        above the budget, or up, rounding up, when it is below. For extreme shapes its result can miss the budget or
        have an aspect ratio that it would itself refuse. It is therefore applied until nothing changes, so that a
        processor with the same budget does not resize the image.
        """
        width, height = size
        if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
            raise ImageError(
                f"an image of {width}×{height} pixels has an aspect ratio over {MAX_ASPECT_RATIO}, which the "
                f"size rule of the family {self.name} refuses"
            )
        for _ in range(64):
            wide, high = self._once((width, height), budget)
            fitted = min(wide, MAX_ASPECT_RATIO * high), min(high, MAX_ASPECT_RATIO * wide)
            if fitted == (width, height):
                return fitted
            width, height = fitted
        raise ValueError(
            f"the size rule does not settle between {budget.min_pixels} and {budget.max_pixels} pixels"
        )

    def visual_tokens(self, size: Size) -> int:
        """Return one token for each factor × factor pixels."""
        return (size[0] // self.factor) * (size[1] // self.factor)

    def most_visual_tokens(self, budget: Budget) -> int:
        """See `Family.most_visual_tokens`."""
        return budget.max_pixels // self.factor**2

    def problem(self, budget: Budget) -> str | None:
        """See `Family.problem`. The rule must settle for every shape.

        Scaling down to at most h tiles of factor² pixels, and rounding both sides down, leaves at least ⌊h/2⌋ tiles:
        with (p+1)(q+1) > h and p, q ≥ 1, pq > h/2 - 1. When that is below the minimum, the rule can go up and
        down forever.
        """
        tile = self.factor**2
        highest = budget.max_pixels // (2 * tile) * tile
        if highest >= budget.min_pixels:
            return None
        return (
            f"min_pixels must not be above {highest}, half of max_pixels in tiles of {self.factor}×{self.factor}: "
            "the family's size rule could not settle"
        )

    def processor_size(self, budget: Budget) -> dict[str, object]:
        """Return the processor's limits, which count an image as `frames` frames."""
        limits = {
            "shortest_edge": budget.min_pixels * self.frames,
            "longest_edge": budget.max_pixels * self.frames,
        }
        return {"size": limits}

    def _once(self, size: Size, budget: Budget) -> Size:
        width, height = size
        factor = self.factor
        new_width, new_height = round(width / factor) * factor, round(height / factor) * factor
        if new_width * new_height > budget.max_pixels:
            shrink = math.sqrt(width * height / budget.max_pixels)
            new_width = max(factor, math.floor(width / shrink / factor) * factor)
            new_height = max(factor, math.floor(height / shrink / factor) * factor)
        elif new_width * new_height < budget.min_pixels:
            grow = math.sqrt(budget.min_pixels / (width * height))
            new_width = math.ceil(width * grow / factor) * factor
            new_height = math.ceil(height * grow / factor) * factor
        return new_width, new_height
