"""Many recipes from one source: what they have in common is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from p2r_bench.adapter.pixels import realise
from p2r_bench.types import Recipe, Stroke

EXACT = "exact"


class Canvas:
    """A decoded source image of which several recipes are realised, as a group of rollouts needs them.

    Pillow resizes rows first and columns after that, with whole levels in between, so the rows that a box
    does not touch are the same in every annotated image. `realise` here gives the pixels of
    `adapter.realise`, to the bit, and resizes only the rows that were drawn on. Not for several threads at once.

    Args:
        source: As `decode` gives it: RGB, upright. It is not changed.
    """

    def __init__(self, source: Image.Image) -> None:
        self.source = source
        self._narrow: dict[int, Image.Image] = {}

    def realise(self, recipe: Recipe) -> Image.Image:
        """The image that a recipe describes; see `adapter.realise`."""
        width, height = recipe.resize[0]
        shortcut = (
            recipe.crop is None
            and recipe.route == EXACT
            and self.source.mode == "RGB"
            and width != self.source.width
            and height != self.source.height
        )
        if not shortcut:
            return realise(recipe, self.source)
        narrow = self._narrowed(width)
        if recipe.strokes:
            narrow = narrow.copy()
            for top, bottom in _bands(recipe.strokes, self.source.height):
                narrow.paste(self._strip(recipe.strokes, top, bottom, width), (0, top))
        return realise(replace(recipe, strokes=()), narrow)

    def _narrowed(self, width: int) -> Image.Image:
        """The clean source at the final width and its own height."""
        if width not in self._narrow:
            self._narrow[width] = _narrow(self.source, width)
        return self._narrow[width]

    def _strip(self, strokes: Sequence[Stroke], top: int, bottom: int, width: int) -> Image.Image:
        """Some rows of the annotated image at the final width."""
        strip = self.source.crop((0, top, self.source.width, bottom))
        moved = tuple(
            replace(s, rect=(s.rect[0], s.rect[1] - top, s.rect[2], s.rect[3] - top))
            for s in strokes
        )
        size = (strip.width, strip.height)
        drawn = Recipe("", "ignore", "drop", moved, None, (size,))
        return _narrow(realise(drawn, strip), width)


def _narrow(image: Image.Image, width: int) -> Image.Image:
    return image.resize((width, image.height), Image.Resampling.BICUBIC)


def _bands(strokes: Sequence[Stroke], height: int) -> list[tuple[int, int]]:
    """Rows that strokes touch, as half-open ranges that do not overlap."""
    bands: list[tuple[int, int]] = []
    # A margin, so that nothing hangs on which side of its rectangle a thick outline grows.
    ranges = ((s.rect[1] - s.width, s.rect[3] + s.width + 1) for s in strokes)
    for top, bottom in sorted((max(0, a), min(height, b)) for a, b in ranges):
        if bottom <= top:
            continue
        if bands and top <= bands[-1][1]:
            bands[-1] = (bands[-1][0], max(bottom, bands[-1][1]))
        else:
            bands.append((top, bottom))
    return bands
