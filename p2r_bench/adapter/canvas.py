"""Rendering of several recipes from one source, with shared steps computed once.

Pillow resizes along rows first, then along columns, and rounds to whole levels in between. Rows that no outline touches
are therefore equal in the annotated and the clean image: they are resized once. Of an annotated image only the rows
under its outlines are drawn and resized. The pixels equal those of `render`, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from p2r_bench.adapter.pixels import render
from p2r_bench.types import Recipe, Size, Stroke

EXACT = "exact"


def narrow_width(recipe: Recipe, size: Size) -> int | None:
    """Return the width of a narrowed source from which a recipe can be rendered; None if the recipe needs the whole
    source.

    Args:
        size: (width, height) of the decoded source.
    """
    width, height = recipe.resize[0]
    whole = recipe.crop is None and recipe.route == EXACT
    return width if whole and width != size[0] and height != size[1] else None


def narrowed(source: Image.Image, width: int) -> Image.Image:
    """Return the source at another width and its own height.

    Args:
        source: Result of `decode`: RGB, upright. It is not changed.
    """
    return source.resize((width, source.height), Image.Resampling.BICUBIC)


def render_narrowed(
    recipe: Recipe, source: Image.Image, narrow: Image.Image, *, before_transport: bool = False
) -> Image.Image:
    """Render a recipe; see `render`.

    Args:
        recipe: A recipe with a `narrow_width`.
        source: Result of `decode`. It is not changed.
        narrow: Result of `narrowed` at that width. It is not changed.
    """
    if recipe.strokes:
        # Exact, since the pass along rows mixes no rows: those without an outline are the clean image's.
        narrow = narrow.copy()
        for top, bottom in _bands(recipe.strokes, source.height):
            strip = _drawn_rows(source, recipe.strokes, top, bottom)
            narrow.paste(narrowed(strip, narrow.width), (0, top))
    return render(replace(recipe, strokes=()), narrow, before_transport=before_transport)


class Canvas:
    """A decoded source from which several recipes are rendered. Not thread-safe.

    Args:
        source: Result of `decode`: RGB, upright. It is not changed.
    """

    def __init__(self, source: Image.Image) -> None:
        self.source = source
        self._narrow: dict[int, Image.Image] = {}

    def render(self, recipe: Recipe) -> Image.Image:
        """Render a recipe; see `adapter.render`."""
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
    """Return the rows that strokes touch, as disjoint half-open ranges."""
    bands: list[tuple[int, int]] = []
    # With a margin, since Pillow versions may grow a thick outline on either side of its rectangle.
    ranges = ((s.rect[1] - s.width, s.rect[3] + s.width + 1) for s in strokes)
    for top, bottom in sorted((max(0, a), min(height, b)) for a, b in ranges):
        if bottom <= top:
            continue
        if bands and top <= bands[-1][1]:
            bands[-1] = (bands[-1][0], max(bottom, bands[-1][1]))
        else:
            bands.append((top, bottom))
    return bands
