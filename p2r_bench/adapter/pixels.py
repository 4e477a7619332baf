"""The only code that touches pixels: decoding, drawing, cropping and resizing by recipe."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError

from p2r_bench.adapter.geometry import strokes_for
from p2r_bench.errors import ImageError, UserError
from p2r_bench.types import Box, Recipe, Size, Stroke

if TYPE_CHECKING:
    from p2r_bench.adapter.profile import Profile

Resize = Callable[[Image.Image, Size], Image.Image]


def decode(data: bytes, *, exif: str = "apply", alpha: str = "white") -> Image.Image:
    """RGB image of an encoded file, upright and flat by the given policy.

    Raises:
        ImageError: The bytes are not an image that Pillow reads, or are cut off.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return upright(image, exif=exif, alpha=alpha)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"the image cannot be read: {error}") from error


def upright(image: Image.Image, *, exif: str, alpha: str) -> Image.Image:
    """Apply the EXIF and alpha policy; an RGB image without a rotation comes back as it is."""
    if exif == "apply":
        image = ImageOps.exif_transpose(image) if image.getexif().get(0x0112, 1) != 1 else image
    if image.mode == "RGB":
        return image
    if alpha == "white" and image.has_transparency_data:
        layer = image.convert("RGBA")
        flat = Image.new("RGB", image.size, "white")
        flat.paste(layer, mask=layer.getchannel("A"))
        return flat
    if image.mode.startswith(("I;16", "I")):
        image = image.convert("I").point(lambda value: value / 257).convert("L")
    return image.convert("RGB")


def annotate(image: Image.Image, boxes: Sequence[Box], profile: Profile) -> Image.Image:
    """A copy of an image with the outline of every box drawn on it, at full resolution.

    Args:
        image: RGB image, upright.
        boxes: Corners in thousandths; boxes outside the image leave no mark.
    """
    return draw(image.copy(), strokes_for(boxes, image.size, profile))


def draw(image: Image.Image, strokes: Sequence[Stroke]) -> Image.Image:
    """Draw outlines into the image itself, and return it."""
    pen = ImageDraw.Draw(image)
    for stroke in strokes:
        pen.rectangle(stroke.rect, outline=stroke.colour, width=stroke.width)
    return image


def realise(recipe: Recipe, source_image: Image.Image) -> Image.Image:
    """The image that a recipe describes, RGB, exactly as the model receives it.

    Args:
        recipe: How to make it.
        source_image: The source as `decode` gives it, or as Pillow opened it. It is not changed.

    Raises:
        UserError: The recipe names a pixel route that is not installed.
    """
    image = upright(source_image, exif=recipe.exif, alpha=recipe.alpha)
    if recipe.strokes:
        image = draw(image.copy(), recipe.strokes)
    if recipe.crop is not None:
        image = image.crop(recipe.crop)
    resize = _ROUTES.get(recipe.route)
    if resize is None:
        raise UserError(f"pixel route {recipe.route!r} is not known; known are {', '.join(_ROUTES)}")
    for size in recipe.resize:
        if image.size != size:
            image = resize(image, size)
    return _transported(image, recipe.transport)


def _pillow_bicubic(image: Image.Image, size: Size) -> Image.Image:
    return image.resize(size, Image.Resampling.BICUBIC)


_ROUTES: dict[str, Resize] = {"exact": _pillow_bicubic}


def _transported(image: Image.Image, transport: str) -> Image.Image:
    kind, _, quality = transport.partition(":")
    if kind == "lossless":
        return image
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(quality))
    with Image.open(buffer) as received:
        return received.convert("RGB")
