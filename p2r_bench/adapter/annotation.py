"""Outlines of boxes on an image, with the colours and width of a profile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image

from p2r_bench.adapter.boxes import valid_corners
from p2r_bench.adapter.pixels import drawn, upright
from p2r_bench.types import Box, Size, Stroke

if TYPE_CHECKING:
    from p2r_bench.adapter.profile import Profile


def annotate(image: Image.Image, boxes: Sequence[Box], profile: Profile) -> Image.Image:
    """Return an RGB copy of an image with the outline of every box drawn on it, at full resolution.

    Args:
        image: The source, a result of `decode` or opened by Pillow. It is not changed.
        boxes: Corners in thousandths; boxes outside the image leave no mark.
    """
    shown = upright(image, exif=profile.image.exif, alpha=profile.image.alpha)
    return drawn(shown, strokes_for(boxes, shown.size, profile))


def strokes_for(boxes: Sequence[Box], size: Size, profile: Profile) -> tuple[Stroke, ...]:
    """Return the outlines of all boxes, in order, with the profile's colours in turn.

    Line width is max(min_width, floor(width_fraction * image width)); corners are truncated from
    coordinate / 1000 * size. Corners far outside are clamped, since Pillow's coordinates have 32 bits. Invalid corners
    have no outline.
    """
    width = max(profile.annotate.min_width, math.floor(profile.annotate.width_fraction * size[0]))
    colours = profile.annotate.colours

    def pixel(coordinate: float, length: int) -> int:
        value = min(max(coordinate / 1000, -1e6), 1e6) * length
        return min(max(int(value), -2 * width), length + 2 * width)

    found = (valid_corners(box.xyxy) for box in boxes)
    drawable = [corners for corners in found if not isinstance(corners, str)]
    return tuple(
        Stroke(
            rect=(pixel(x1, size[0]), pixel(y1, size[1]), pixel(x2, size[0]), pixel(y2, size[1])),
            colour=colours[index % len(colours)],
            width=width,
        )
        for index, (x1, y1, x2, y2) in enumerate(drawable)
    )
