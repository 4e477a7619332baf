"""The pixel route `fast`: torch's antialiased bicubic filter on 8-bit pixels, several times faster than Pillow's.

Torch and Pillow use the same filter. Torch rounds the weights to fewer bits, so about one value in a hundred differs by
one level, and a few in a million by two (three at most).
"""

from __future__ import annotations

import pyarrow as pa
import torch
from PIL import Image, _imaging

from p2r_bench.types import Size

_CHANNELS = 4
"""Pillow keeps RGB as four bytes a pixel; the fourth is padding."""

# One contiguous block can be read without a copy; Pillow splits images of more than 16 MB by default.
_imaging.set_block_size(1 << 30)


def bicubic(image: Image.Image, size: Size) -> Image.Image:
    """Return an RGB image resized to (width, height). Uses one thread and releases the interpreter lock."""
    width, height = size
    pixels = _bytes(image).view(1, image.height, image.width, _CHANNELS).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(
        pixels, size=(height, width), mode="bicubic", antialias=True, align_corners=False
    )
    rows = resized[0].permute(1, 2, 0).contiguous()
    return Image.frombytes("RGB", size, rows.numpy(), "raw", "RGBX")


def _bytes(image: Image.Image) -> torch.Tensor:
    """Return Pillow's own memory of an RGB image, or a copy if it is split or Pillow is too old to expose it."""
    try:
        return torch.utils.dlpack.from_dlpack(pa.array(image).flatten())
    except (TypeError, ValueError, pa.ArrowInvalid):
        return torch.frombuffer(bytearray(image.tobytes("raw", "RGBX")), dtype=torch.uint8)
