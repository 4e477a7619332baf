"""Geometry of crops and image sizes, in whole pixels; no image is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2r_bench.adapter.boxes import valid_corners
from p2r_bench.families import Budget
from p2r_bench.types import Box, ImageRef, Rect, Size

if TYPE_CHECKING:
    from p2r_bench.adapter.profile import Profile


def crop_rect(box: Box, size: Size, profile: Profile) -> Rect | None:
    """Return the pixel rectangle (left, top, right, bottom) of a box's crop; None when none of it lies in the image.

    The rule of the published method (arXiv 2607.01191): each side moves out by min(pad_fraction, pad_pixels / side) of
    the side's length, up to the image's border; pixel edges are truncated. The result is None if the rectangle is empty
    or outside the image, or the corners are invalid.

    Args:
        box: Corners in thousandths of the image.
        size: Width and height of the image in pixels, after EXIF rotation.
    """
    corners = valid_corners(box.xyxy)
    if isinstance(corners, str):
        return None
    x1, y1, x2, y2 = corners
    left, right = _padded(x1, x2, size[0], profile)
    top, bottom = _padded(y1, y2, size[1], profile)
    return (left, top, right, bottom) if left < right and top < bottom else None


def _padded(low: float, high: float, length: int, profile: Profile) -> tuple[int, int]:
    pad = min(profile.crop.pad_fraction, profile.crop.pad_pixels / length)
    start = max(0.0, low / 1000 - pad)
    end = min(1.0, high / 1000 + pad)
    return (int(start * length), int(end * length)) if start < 1 and end > 0 else (0, 0)


def upright_size(image: ImageRef, exif: str) -> Size:
    """Return width and height in pixels after an EXIF policy, "apply" or "ignore".

    Raises:
        ValueError: The image was not probed, so its size is not known.
    """
    if image.size is None:
        raise ValueError("the image's size is not known: probe it before building requests")
    width, height = image.size
    turned = exif == "apply" and image.orientation in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


def final_sizes(size: Size, profile: Profile) -> tuple[Size, ...]:
    """Return the successive sizes of an image; the model receives the last.

    One size, or two if the profile reproduces a path whose processor resizes again.

    Raises:
        ImageError: A shape that the model family refuses.
    """
    family, budget = profile.model_family, profile.budget
    first = family.fit(size, budget)
    if not profile.image.second_min_pixels:
        return (first,)
    second = family.fit(first, Budget(profile.image.second_min_pixels, budget.max_pixels))
    return (first,) if second == first else (first, second)
