"""The only code that touches pixels: decoding, drawing, cropping and resizing by recipe."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageOps

from p2r_bench.adapter.geometry import strokes_for
from p2r_bench.adapter.routes import resize_route
from p2r_bench.errors import ImageError
from p2r_bench.types import Box, Recipe, Size, Stroke

if TYPE_CHECKING:
    from p2r_bench.adapter.profile import Profile

_ORIENTATION = 0x0112


def decode(data: bytes, *, exif: str = "apply", alpha: str = "white") -> Image.Image:
    """RGB image of an encoded file, upright and flat by the given policy.

    Raises:
        ImageError: The bytes are not an image that Pillow reads, are cut off, or hold more pixels than
            `PIL.Image.MAX_IMAGE_PIXELS` allows.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return upright(image, exif=exif, alpha=alpha)
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        LookupError,
        RuntimeError,
        TypeError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:  # what Pillow's readers raise on damaged files
        raise ImageError(f"the image cannot be read: {error}") from error


def upright(image: Image.Image, *, exif: str, alpha: str) -> Image.Image:
    """Apply the EXIF and alpha policy; an opaque RGB image without a rotation comes back as it is."""
    if exif == "apply" and image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(
        "I"
    ):  # 16 bits; Pillow's own conversion clips everything above 255 to white
        image = image.convert("I").point(lambda value: value / 257).convert("L")
    elif alpha == "white" and image.has_transparency_data:
        layer = image.convert("RGBA")
        flat = Image.new("RGB", image.size, "white")
        flat.paste(layer, mask=layer.getchannel("A"))
        return flat
    return image if image.mode == "RGB" else image.convert("RGB")


def annotate(image: Image.Image, boxes: Sequence[Box], profile: Profile) -> Image.Image:
    """An RGB copy of an image with the outline of every box drawn on it, at full resolution.

    Args:
        image: The source as `decode` gives it, or as Pillow opened it. It is not changed.
        boxes: Corners in thousandths; boxes outside the image leave no mark.
    """
    shown = upright(image, exif=profile.image.exif, alpha=profile.image.alpha)
    return _drawn(shown, strokes_for(boxes, shown.size, profile))


def realise(
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
