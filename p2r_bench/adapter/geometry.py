"""Where things are: crops, outlines and image sizes. Integers in, integers out; no pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from p2r_bench.errors import ImageError
from p2r_bench.types import Box, ImageRef, Rect, Size, Stroke

if TYPE_CHECKING:
    from p2r_bench.adapter.profile import Profile

MAX_ASPECT_RATIO = 200
"""The Qwen3-VL family's size rule refuses images more elongated than this."""


def crop_rect(box: Box, size: Size, profile: Profile) -> Rect | None:
    """Pixel rectangle (left, top, right, bottom) that is cut out for a box, or None when nothing of it lies in the image.

    The rule of the published method: each side moves out by min(pad_fraction, pad_pixels / side) of the
    side's length; left and top not below 0, right and bottom not above 1; pixel edges are truncated.

    Args:
        box: Corners in thousandths of the image.
        size: Width and height of the image in pixels, after EXIF rotation.
    """
    edges: list[int] = []
    for low, high, length in ((box.xyxy[0], box.xyxy[2], size[0]), (box.xyxy[1], box.xyxy[3], size[1])):
        pad = min(profile.crop.pad_fraction, profile.crop.pad_pixels / length)
        start = max(0.0, low / 1000 - pad)
        end = min(1.0, high / 1000 + pad)
        if not (start < 1 and end > 0):
            return None
        edges += (int(start * length), int(end * length))
    left, right, top, bottom = edges
    return (left, top, right, bottom) if left < right and top < bottom else None


def strokes_for(boxes: Sequence[Box], size: Size, profile: Profile) -> tuple[Stroke, ...]:
    """The outlines drawn for all boxes, in order, with the profile's colours in turn.

    Line width is max(min_width, floor(width_fraction * image width)); corners are truncated from
    coordinate / 1000 * size. Corners far outside are moved to where they are just as invisible, since
    Pillow takes no coordinates beyond 32 bits.
    """
    width = max(profile.annotate.min_width, math.floor(profile.annotate.width_fraction * size[0]))
    colours = profile.annotate.colours

    def pixel(coordinate: float, length: int) -> int:
        value = min(max(coordinate / 1000, -2.0), 3.0) * length
        return min(max(int(value), -2 * width), length + 2 * width)

    return tuple(
        Stroke(
            rect=(
                pixel(box.xyxy[0], size[0]),
                pixel(box.xyxy[1], size[1]),
                pixel(box.xyxy[2], size[0]),
                pixel(box.xyxy[3], size[1]),
            ),
            colour=colours[index % len(colours)],
            width=width,
        )
        for index, box in enumerate(boxes)
    )


def fit(size: Size, *, min_pixels: int, max_pixels: int, factor: int) -> Size:
    """Size inside a pixel budget by the Qwen family's rule: both sides multiples of `factor`, aspect about kept.

    The rule rounds both sides to multiples of the factor, then scales down (rounding down) when the area is
    above the budget, or up (rounding up) when it is below. It is applied until nothing changes, so that a
    processor with the same budget leaves the result alone; only extreme shapes need a second turn.

    Raises:
        ImageError: The aspect ratio is over 200, which the family refuses.
    """
    width, height = size
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise ImageError(
            f"an image of {width}×{height} pixels has an aspect ratio over {MAX_ASPECT_RATIO}, "
            "which the Qwen3-VL family's size rule refuses"
        )
    for _ in range(64):
        fitted = _fit_once((width, height), min_pixels, max_pixels, factor)
        if fitted == (width, height):
            break
        width, height = fitted
    return width, height


def _fit_once(size: Size, min_pixels: int, max_pixels: int, factor: int) -> Size:
    width, height = size
    new_width = max(factor, round(width / factor) * factor)
    new_height = max(factor, round(height / factor) * factor)
    if new_width * new_height > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        new_width = max(factor, math.floor(width / shrink / factor) * factor)
        new_height = max(factor, math.floor(height / shrink / factor) * factor)
    elif new_width * new_height < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        new_width = math.ceil(width * grow / factor) * factor
        new_height = math.ceil(height * grow / factor) * factor
    return new_width, new_height


def upright_size(image: ImageRef, profile: Profile) -> Size:
    """Width and height in pixels after the profile's EXIF policy.

    Raises:
        ValueError: The image was not probed, so that its size is not known.
    """
    if image.size is None:
        raise ValueError("the image's size is not known: probe it before building requests")
    width, height = image.size
    turned = profile.image.exif == "apply" and image.orientation in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


def final_sizes(size: Size, profile: Profile) -> tuple[Size, ...]:
    """Sizes an image goes through on its way to the model; the last is what the model receives.

    One size, except where the profile reproduces a path whose processor resizes a second time.
    """
    budget = profile.image
    first = fit(size, min_pixels=budget.min_pixels, max_pixels=budget.max_pixels, factor=budget.factor)
    if not budget.second_min_pixels:
        return (first,)
    second = fit(
        first, min_pixels=budget.second_min_pixels, max_pixels=budget.max_pixels, factor=budget.factor
    )
    return (first,) if second == first else (first, second)
