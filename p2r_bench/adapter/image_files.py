"""Encoded images: which formats are opened, how they are stored, and what their decoders raise."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from p2r_bench.errors import ImageError
from p2r_bench.types import Size

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000")
"""Formats that benchmarks use, by Pillow's names. Pillow's other readers are never given a dataset's bytes."""

UNREADABLE = "the image cannot be read: "
ORIENTATION = 0x0112
_WIDTH, _HEIGHT = 0x0100, 0x0101
_PNG_ORIENTATION_MARKS = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """An image file for the length of the block; of several frames the first.

    Raises:
        ImageError: The bytes are no image of a known format, it has no pixels or more than `PIL.Image.MAX_IMAGE_PIXELS` allows,
            or the block's reading of it failed, in whatever way.
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
    except Exception as error:  # decoders raise anything on damaged files
        raise ImageError(f"{UNREADABLE}{error or type(error).__name__}") from error


def stored_geometry(image: Image.Image, data: bytes) -> tuple[Size, int]:
    """(width, height) as stored, and the EXIF orientation, 1 to 8, of an image that was opened and not yet loaded."""
    # Pillow turns a TIFF's size when it opens it, and its pixels when it loads them.
    tags = getattr(image, "tag_v2", None)
    size = (int(tags[_WIDTH]), int(tags[_HEIGHT])) if tags is not None else image.size
    # Pillow decodes a whole PNG to look for its orientation.
    if image.format == "PNG" and not any(mark in data for mark in _PNG_ORIENTATION_MARKS):
        return size, 1
    return size, orientation_of(image)


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an image, 1 to 8; 1 without a valid one."""
    value = image.getexif().get(ORIENTATION, 1)
    return int(value) if value in range(1, 9) else 1
