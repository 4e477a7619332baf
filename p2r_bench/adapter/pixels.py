"""The only code that touches pixels: decoding, drawing, cropping and resizing by recipe."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from p2r_bench.adapter.geometry import strokes_for
from p2r_bench.adapter.image_files import opened, orientation_of
from p2r_bench.adapter.levels import rgb
from p2r_bench.adapter.routes import resize_route
from p2r_bench.types import Box, Recipe, Size, Stroke

if TYPE_CHECKING:
    from p2r_bench.adapter.profile import Profile

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what makes the image upright."""
_INVERSE = {6: 8, 8: 6}
"""Orientation to the one that undoes it; the others undo themselves."""


def decode(data: bytes, *, exif: str = "apply", alpha: str = "white") -> Image.Image:
    """RGB image of an encoded file, upright and flat by the given policy.

    Raises:
        ImageError: The bytes are not an image of a known format, are cut off, hold more pixels than
            `PIL.Image.MAX_IMAGE_PIXELS` allows, or pixels that cannot be scaled to 8 bits.
    """
    with opened(data) as image:
        return upright(image, exif=exif, alpha=alpha)


def upright(image: Image.Image, *, exif: str, alpha: str) -> Image.Image:
    """Apply the EXIF and alpha policy; an opaque RGB image without a rotation comes back as it is.

    Raises:
        ImageError: The pixels cannot be scaled to 8 bits.
    """
    stored = orientation_of(image)
    image.load()
    left = orientation_of(image)
    # Pillow turns a TIFF while it loads it, and removes its orientation.
    turned = left == 1 and stored != 1
    flat = rgb(image, alpha=alpha)
    if exif == "apply" and left != 1:
        flat = flat.transpose(_UPRIGHT[left])
    elif exif == "ignore" and turned:
        flat = flat.transpose(_UPRIGHT[_INVERSE.get(stored, stored)])
    else:
        return flat
    flat.info = {}  # the orientation that has been dealt with
    return flat


def annotate(image: Image.Image, boxes: Sequence[Box], profile: Profile) -> Image.Image:
    """An RGB copy of an image with the outline of every box drawn on it, at full resolution.

    Args:
        image: The source as `decode` gives it, or as Pillow opened it. It is not changed.
        boxes: Corners in thousandths; boxes outside the image leave no mark.
    """
    shown = upright(image, exif=profile.image.exif, alpha=profile.image.alpha)
    return _drawn(shown, strokes_for(boxes, shown.size, profile))


def render(
    recipe: Recipe, source_image: Image.Image, *, before_transport: bool = False
) -> Image.Image:
    """The image that a recipe describes, RGB, exactly as the model receives it.

    Args:
        recipe: How to make it.
        source_image: The source as `decode` gives it, or as Pillow opened it. It is not changed.
        before_transport: Return the image that `compressed` turns into the file to be sent. Only for recipes with
            `lossy_file`.

    Raises:
        UserError: There is no such pixel route, or what it needs is not installed.
    """
    resize_route(recipe.route)
    image = upright(source_image, exif=recipe.exif, alpha=recipe.alpha)
    if recipe.strokes:
        image = _drawn(image, recipe.strokes)
    if recipe.crop is not None:
        image = image.crop(recipe.crop)
    sent, *again = recipe.resize
    image = _resized(image, sent, recipe.route)
    if not before_transport:
        image = _transported(image, recipe.transport)
    for size in again:  # by the receiver's own processor
        image = _resized(image, size, recipe.route)
    if image is source_image:
        image = image.copy()
    image.info = {}  # an orientation or colour profile left here would be applied by the next reader
    return image


def _drawn(image: Image.Image, strokes: Sequence[Stroke]) -> Image.Image:
    copy = image.copy()
    pen = ImageDraw.Draw(copy)
    for stroke in strokes:
        pen.rectangle(stroke.rect, outline=stroke.colour, width=stroke.width)
    return copy


def _resized(image: Image.Image, size: Size, route: str) -> Image.Image:
    return image if image.size == size else resize_route(route)(image, size)


def compressed(image: Image.Image, transport: str) -> bytes:
    """The file that an image travels as under a lossy transport, such as "jpeg:75"."""
    kind, _, quality = transport.partition(":")
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=int(quality))
    return buffer.getvalue()


def _transported(image: Image.Image, transport: str) -> Image.Image:
    if transport == "lossless":
        return image
    with Image.open(io.BytesIO(compressed(image, transport))) as received:
        return received.convert("RGB")
