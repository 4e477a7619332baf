"""Images as lossless PNG files."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image
from zlib_ng import zlib_ng

FAST = 1


def png(image: Image.Image, level: int) -> bytes:
    """Return an RGB image as a PNG file.

    Args:
        level: 0 stores the pixels. 1 filters rows upwards and codes run lengths with zlib-ng, as small as Pillow's level 1 and
            several times faster. 2 to 9 are Pillow's levels, which try every row filter.
    """
    if level > FAST:
        out = io.BytesIO()
        image.save(out, "PNG", compress_level=level)
        return out.getvalue()
    width, height = image.size
    rows = np.empty((height, 1 + 3 * width), dtype=np.uint8)
    pixels = np.asarray(image).reshape(height, 3 * width)
    rows[:, 1:] = pixels
    if level == FAST:
        np.subtract(pixels[1:], pixels[:-1], out=rows[1:, 1:])
    rows[:, 0] = _UP if level == FAST else _UNFILTERED
    return _file(width, height, _deflated(rows, level))


_UNFILTERED, _UP = 0, 2


def _deflated(rows: np.ndarray, level: int) -> bytes:
    if level == 0:
        return zlib_ng.compress(rows.data, 0)
    stream = zlib_ng.compressobj(level, strategy=zlib.Z_RLE)
    return stream.compress(rows.data) + stream.flush()


def _file(width: int, height: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, content in [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]:
        checksum = zlib_ng.crc32(content, zlib_ng.crc32(kind))
        parts += [struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)]
    return b"".join(parts)
