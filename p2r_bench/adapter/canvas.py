"""Many recipes from one source: what they have in common is computed once.

Pillow resizes rows first and columns after that, with whole levels in between, so the rows that a box does not
touch are the same in every annotated image as in the clean one. They are resized once; of an annotated image only
those rows are drawn and resized that its boxes touch. The pixels are those of `render`, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from p2r_bench.adapter.pixels import render
from p2r_bench.types import Recipe, Size, Stroke

EXACT = "exact"


def narrow_width(recipe: Recipe, size: Size) -> int | None:
    """Width of the narrowed source that a recipe can be rendered from; None where it needs the source itself.

    Args:
        size: (width, height) of the decoded source.
    """
    width, height = recipe.resize[0]
    whole = recipe.crop is None and recipe.route == EXACT
    return width if whole and width != size[0] and height != size[1] else None


def narrowed(source: Image.Image, width: int) -> Image.Image:
    """The source at another width and its own height.

    Args:
        source: As `decode` gives it: RGB, upright. It is not changed.
    """
    return source.resize((width, source.height), Image.Resampling.BICUBIC)


def render_narrowed(
    recipe: Recipe, source: Image.Image, narrow: Image.Image, *, before_transport: bool = False
) -> Image.Image:
    """The image that a recipe describes; see `render`.

    Args:
        recipe: One that has a `narrow_width`.
        source: As `decode` gives it. It is not changed.
        narrow: `narrowed` to that width. It is not changed.
    """
    if recipe.strokes:
        narrow = narrow.copy()
        for top, bottom in _bands(recipe.strokes, source.height):
            strip = _drawn_rows(source, recipe.strokes, top, bottom)
            narrow.paste(narrowed(strip, narrow.width), (0, top))
    return render(replace(recipe, strokes=()), narrow, before_transport=before_transport)


class Canvas:
    """A decoded source of which several recipes are rendered. Not for several threads at once.

    Args:
        source: As `decode` gives it: RGB, upright. It is not changed.
    """

    def __init__(self, source: Image.Image) -> None:
        self.source = source
        self._narrow: dict[int, Image.Image] = {}

    def render(self, recipe: Recipe) -> Image.Image:
        """The image that a recipe describes; see `adapter.render`."""
        width = narrow_width(recipe, self.source.size)
        if width is None:
            return render(recipe, self.source)
        if width not in self._narrow:
            self._narrow[width] = narrowed(self.source, width)
        return render_narrowed(recipe, self.source, self._narrow[width])


def _drawn_rows(
    source: Image.Image, strokes: Sequence[Stroke], top: int, bottom: int
) -> Image.Image:
    strip = source.crop((0, top, source.width, bottom))
    moved = tuple(
        replace(s, rect=(s.rect[0], s.rect[1] - top, s.rect[2], s.rect[3] - top)) for s in strokes
    )
    return render(Recipe("", "ignore", "drop", moved, None, (strip.size,)), strip)


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
