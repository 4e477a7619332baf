"""Conversion of pixels of any mode to 8-bit RGB."""

from __future__ import annotations

import math

from PIL import Image

from p2r_bench.errors import ImageError

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262
_WHITE_IS_ZERO = 0


def rgb(image: Image.Image, *, alpha: str) -> Image.Image:
    """Return an image as 8-bit RGB; an opaque RGB image is returned unchanged.

    16-bit grey is scaled by its type's range. Floats must lie between 0 and 1 and are scaled by 255.

    Args:
        alpha: "white" flattens transparency on white, "drop" discards it.

    Raises:
        ImageError: Pixels without a known range.
    """
    if image.mode == "F":
        return _from_floats(image).convert("RGB")
    if image.mode.startswith("I"):
        return _from_integers(image).convert("RGB")
    if image.mode == "La":
        # Pillow converts premultiplied grey only to LA.
        image = image.convert("LA")
    if alpha == "white" and image.has_transparency_data:
        layer = image.convert("RGBA")
        flat = Image.new("RGB", image.size, "white")
        flat.paste(layer, mask=layer.getchannel("A"))
        return flat
    if image.mode == "RGBa":
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_integers(image: Image.Image) -> Image.Image:
    """Return 8-bit grey from 16 bits. Pillow's own conversion would clip everything above 255 to white."""
    # Pillow before 11 opens a 16-bit PNG as 32-bit.
    if image.mode == "I" and image.format != "PNG":
        raise ImageError(
            "grey of 32 bits has no known range; convert it to 8 or 16 bits without a sign, or to floats in 0–1"
        )
    tags = getattr(image, "tag_v2", {})
    (bits, *_) = tags.get(_BITS_PER_SAMPLE, (16,))
    scale = 255 / (2**bits - 1)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        return image.convert("I").point(lambda value: value * -scale + 255.5).convert("L")
    return image.convert("I").point(lambda value: value * scale + 0.5).convert("L")


def _from_floats(image: Image.Image) -> Image.Image:
    low, high = image.getextrema()
    mean = image.resize((1, 1), Image.Resampling.BOX).getpixel(
        (0, 0)
    )  # the sum is NaN if any pixel is
    if not (isinstance(mean, float) and math.isfinite(mean) and 0 <= low <= high <= 1):  # type: ignore[operator]
        raise ImageError(
            f"float pixels from {low} to {high}; only 0 to 1 is known to mean black to white: "
            "scale them to that, or convert the image to 8 bits"
        )
    return image.point(lambda value: value * 255 + 0.5).convert("L")
