"""GLM-4.1V, 4.5V and 4.6V."""

from __future__ import annotations

from p2r_bench.families.base import Budget
from p2r_bench.families.notation import BoxNotation
from p2r_bench.families.smart_resize import SmartResize
from p2r_bench.types import Size


class Glm4V(SmartResize):
    """28 pixels a token, an image counted as two frames; boxes in thousandths between box tokens."""

    name = "glm-4v"
    model_types = ("glm4v", "glm4v_moe", "glm46v")
    names = r"glm-4\.[1-6]v"
    boxes = BoxNotation(form="box_tokens")
    never_sampled = (
        "<|image|>",
        "<|video|>",
        "<|begin_of_image|>",
        "<|end_of_image|>",
        "<|begin_of_video|>",
        "<|end_of_video|>",
    )
    factor = alignment = 28
    frames = 2

    def fit(self, size: Size, budget: Budget) -> Size:
        """See `SmartResize.fit`. An image with a side below the factor is enlarged first."""
        width, height = size
        if min(size) < self.factor:
            scale = max(self.factor / height, self.factor / width)
            width, height = int(width * scale), int(height * scale)
        return super().fit((width, height), budget)
