"""Pixel routes: the ways in which an image is resized, by the name that a profile records."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache

from PIL import Image

from p2r_bench.errors import UserError
from p2r_bench.types import Size

Resize = Callable[[Image.Image, Size], Image.Image]
"""An RGB image of the given (width, height), from an RGB image of any other size."""

_PLACES = {
    "exact": "p2r_bench.adapter.routes:pillow_bicubic",
    "fast": "p2r_bench.torch_pixels:bicubic",
}
"""Import string of each route, resolved on first use: the adapter itself needs Pillow alone."""

ROUTES = tuple(_PLACES)


def pillow_bicubic(image: Image.Image, size: Size) -> Image.Image:
    """The default: Pillow's bicubic filter, antialiased, along rows first and along columns then.

    The levels in between are whole numbers, so the order shows. Pillow before 13 always takes this one; Pillow 13
    takes the other where the height shrinks by much more than the width.
    """
    width, height = size
    if width != image.width and height != image.height:
        image = image.resize((width, image.height), Image.Resampling.BICUBIC)
    return image.resize(size, Image.Resampling.BICUBIC)


@cache
def resize_route(name: str) -> Resize:
    """The function of a route.

    Raises:
        UserError: There is no such route, or what it needs is not installed.
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
