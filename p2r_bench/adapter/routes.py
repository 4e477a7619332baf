"""Pixel routes: named methods of resizing, recorded by the profile."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache

from PIL import Image

from p2r_bench.errors import UserError
from p2r_bench.types import Size

Resize = Callable[[Image.Image, Size], Image.Image]
"""Function that resizes an RGB image to (width, height)."""

_PLACES = {
    "exact": "p2r_bench.adapter.routes:pillow_bicubic",
    "fast": "p2r_bench.torch_pixels:bicubic",
}
"""Import string of each route, resolved on first use, since the adapter itself needs Pillow only."""

ROUTES = tuple(_PLACES)


def pillow_bicubic(image: Image.Image, size: Size) -> Image.Image:
    """Resize with Pillow's antialiased bicubic filter, along rows first, then along columns.

    Pillow rounds in between, so the order matters. Pillow before 13 always uses this order; Pillow 13 uses the other
    when the height shrinks by much more than the width.
    """
    width, height = size
    if width != image.width and height != image.height:
        image = image.resize((width, image.height), Image.Resampling.BICUBIC)
    return image.resize(size, Image.Resampling.BICUBIC)


@cache
def resize_route(name: str) -> Resize:
    """Return the function of a route.

    Raises:
        UserError: An unknown route, or one whose package is not installed.
    """
    if name not in _PLACES:
        raise UserError(f"pixel route {name!r} is not known; known are {', '.join(ROUTES)}")
    module, _, function = _PLACES[name].partition(":")
    try:
        found: Resize = getattr(importlib.import_module(module), function)
    except ImportError as error:
        raise UserError(
            f"pixel route {name!r} cannot be used here: {error}. Install what it needs "
            "(`pip install torch`), or use the exact route: `--pixels exact`, or "
            'image.route = "exact" in the profile'
        ) from error
    return found
