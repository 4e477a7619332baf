"""InternVL 3 and 3.5."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from p2r_bench.families.base import Budget, Family
from p2r_bench.families.notation import BoxNotation
from p2r_bench.types import Size

TILE = 448
TOKENS = 256
"""Visual tokens of a tile."""
MOST_TILES = 12


class InternVL(Family):
    """Tiles of 448×448 pixels and a thumbnail; boxes as `<box>` in thousandths.

    An image is sent at the size of its grid of tiles, which distorts its aspect ratio a little, as the models' own
    processor does. The thumbnail is made from that image.
    """

    name = "internvl"
    model_types = ("internvl",)
    names = r"internvl-?3"
    boxes = BoxNotation(form="box_tags")
    never_sampled = ("<IMG_CONTEXT>", "<img>", "</img>")
    alignment = TILE

    def problem(self, budget: Budget) -> str | None:
        """See `Family.problem`."""
        if budget.max_pixels >= TILE**2:
            return None
        return f"max_pixels must be at least {TILE**2}, one tile of {TILE}×{TILE}"

    def fit(self, size: Size, budget: Budget) -> Size:
        """See `Family.fit`: the grid whose aspect ratio is nearest."""
        columns, rows = _grid(size, self._most(budget))
        return columns * TILE, rows * TILE

    def visual_tokens(self, size: Size) -> int:
        """Return 256 tokens for each tile, and for the thumbnail if there are several tiles."""
        tiles = (size[0] // TILE) * (size[1] // TILE)
        return TOKENS * (tiles + (tiles > 1))

    def most_visual_tokens(self, budget: Budget) -> int:
        """See `Family.most_visual_tokens`."""
        return self.visual_tokens((TILE * self._most(budget), TILE))

    def processor_size(self, budget: Budget) -> dict[str, object]:
        """Return the processor's limits on tiles."""
        return {"crop_to_patches": True, "min_patches": 1, "max_patches": self._most(budget)}

    def processor_arguments(self, sizes: Sequence[Size]) -> dict[str, Any]:
        """Return arguments for tiling, which keeps the size of a grid of tiles."""
        return self.processor_size(Budget(0, MOST_TILES * TILE**2))

    def _most(self, budget: Budget) -> int:
        return max(1, min(MOST_TILES, budget.max_pixels // TILE**2))


@lru_cache(4096)
def _grid(size: Size, most: int) -> tuple[int, int]:
    """Return columns and rows of tiles. Among grids with the same ratio the larger one is chosen, up to twice the
    image's area.
    """
    width, height = size
    ratio, area = width / height, width * height
    grids = [
        (columns, rows)
        for columns in range(1, most + 1)
        for rows in range(1, most + 1)
        if columns * rows <= most
    ]
    best, least = (1, 1), float("inf")
    for columns, rows in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        difference = abs(ratio - columns / rows)
        roomy = area > 0.5 * TILE**2 * columns * rows
        if difference < least or (difference == least and roomy):
            best, least = (columns, rows), difference
    return best
