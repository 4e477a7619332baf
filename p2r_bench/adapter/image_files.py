"""Encoded images: accepted formats, stored geometry, and errors of their decoders."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from p2r_bench.errors import ImageError
from p2r_bench.types import Size

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000")
"""Accepted formats, by Pillow's names. Pillow's other readers never see a dataset's bytes."""

UNREADABLE = "the image cannot be read: "
ORIENTATION = 0x0112
_WIDTH, _HEIGHT = 0x0100, 0x0101
_PNG_ORIENTATION_MARKS = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """Return a context with the opened image, the first of several frames.

    Raises:
        ImageError: An unknown format, no pixels, more pixels than `PIL.Image.MAX_IMAGE_PIXELS` allows, or any error
            while the block reads the image.
    """
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        with Image.open(io.BytesIO(data), formats=formats) as image:
            if 0 in image.size:
                raise ImageError(f"the image has no pixels: {image.width}×{image.height}")
            yield image
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{UNREADABLE}its format is none of {', '.join(formats)}") from error
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        raise ImageError(f"{UNREADABLE}{error or type(error).__name__}") from error


def stored_geometry(image: Image.Image, data: bytes) -> tuple[Size, int]:
    """Return (width, height) as stored and the EXIF orientation, 1 to 8, of an image opened but not loaded."""
    # Pillow rotates a TIFF's size on opening, and its pixels on loading.
    tags = getattr(image, "tag_v2", None)
    size = (int(tags[_WIDTH]), int(tags[_HEIGHT])) if tags is not None else image.size
    # Pillow decodes a whole PNG to find its orientation.
    if image.format == "PNG" and not any(mark in data for mark in _PNG_ORIENTATION_MARKS):
        return size, 1
    return size, orientation_of(image)


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 1 to 8; 1 without a valid one."""
    value = image.getexif().get(ORIENTATION, 1)
    return int(value) if value in range(1, 9) else 1
