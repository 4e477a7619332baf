"""Pixels from recipes: decoding, drawing, cropping, resizing. The modules that plan requests only describe images."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw

from p2r_bench.adapter.image_files import opened, orientation_of
from p2r_bench.adapter.levels import rgb
from p2r_bench.adapter.routes import resize_route
from p2r_bench.types import Recipe, Size, Stroke

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Pillow's operation that makes an image upright, by EXIF orientation."""
_INVERSE = {6: 8, 8: 6}
"""Orientation to its inverse; every other orientation is its own inverse."""


def decode(data: bytes, *, exif: str = "apply", alpha: str = "white") -> Image.Image:
    """Decode an image file to RGB, with the EXIF and alpha policies applied.

    Raises:
        ImageError: An unknown format, a truncated file, more pixels than `PIL.Image.MAX_IMAGE_PIXELS` allows, or pixels
            that cannot be scaled to 8 bits.
    """
    with opened(data) as image:
        return upright(image, exif=exif, alpha=alpha)


def upright(image: Image.Image, *, exif: str, alpha: str) -> Image.Image:
    """Apply the EXIF and alpha policies; an opaque RGB image without rotation is returned unchanged.

    Raises:
        ImageError: Pixels that cannot be scaled to 8 bits.
    """
    stored = orientation_of(image)
    image.load()
    left = orientation_of(image)
    # Pillow rotates a TIFF on loading, and removes its orientation.
    turned = left == 1 and stored != 1
    flat = rgb(image, alpha=alpha)
    if exif == "apply" and left != 1:
        flat = flat.transpose(_UPRIGHT[left])
    elif exif == "ignore" and turned:
        flat = flat.transpose(_UPRIGHT[_INVERSE.get(stored, stored)])
    else:
        return flat
    flat.info = {}  # its orientation is now applied
    return flat


def render(
    recipe: Recipe, source_image: Image.Image, *, before_transport: bool = False
) -> Image.Image:
    """Return the RGB image of a recipe, exactly as the model receives it.

    Args:
        recipe: Steps from source to image.
        source_image: The source, a result of `decode` or opened by Pillow. It is not changed.
        before_transport: Return the image before its lossy compression (`compressed`). Only for recipes with
            `lossy_file`.

    Raises:
        UserError: An unknown pixel route, or one whose package is not installed.
    """
    resize_route(recipe.route)
    if recipe.blank:
        return Image.new("RGB", recipe.size)
    image = upright(source_image, exif=recipe.exif, alpha=recipe.alpha)
    if recipe.strokes:
        image = drawn(image, recipe.strokes)
    if recipe.crop is not None:
        image = image.crop(recipe.crop)
    sent, *again = recipe.resize
    image = _resized(image, sent, recipe.route)
    if not before_transport:
        image = _transported(image, recipe.transport)
    for size in again:  # as the receiver's own processor does
        image = _resized(image, size, recipe.route)
    if image is source_image:
        image = image.copy()
    image.info = {}  # the next reader would apply an orientation or colour profile left here
    return image


def drawn(image: Image.Image, strokes: Sequence[Stroke]) -> Image.Image:
    """Return a copy of an image with outlines drawn on it."""
    copy = image.copy()
    pen = ImageDraw.Draw(copy)
    for stroke in strokes:
        pen.rectangle(stroke.rect, outline=stroke.colour, width=stroke.width)
    return copy


def _resized(image: Image.Image, size: Size, route: str) -> Image.Image:
    return image if image.size == size else resize_route(route)(image, size)


def compressed(image: Image.Image, transport: str) -> bytes:
    """Return the file of an image under a lossy transport, such as "jpeg:75"."""
    kind, _, quality = transport.partition(":")
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=int(quality))
    return buffer.getvalue()


def _transported(image: Image.Image, transport: str) -> Image.Image:
    if transport == "lossless":
        return image
    with Image.open(io.BytesIO(compressed(image, transport))) as received:
        return received.convert("RGB")
