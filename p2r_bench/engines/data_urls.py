"""Images as the data URLs in which OpenAI-compatible servers take them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

from p2r_bench.adapter.pixels import compressed
from p2r_bench.engines.png import png
from p2r_bench.types import ImageEncoder, Recipe, WireImage

if TYPE_CHECKING:
    from PIL import Image


def url_encoder(png_level: int) -> ImageEncoder:
    """The encoder that makes data URLs.

    An image travels as the file that its recipe's transport names where nothing is resized behind it, and as PNG otherwise.
    """

    def encode(recipe: Recipe, image: Image.Image) -> WireImage:
        if recipe.lossy_file:
            kind = recipe.transport.partition(":")[0]
            return _wire(image, kind, compressed(image, recipe.transport))
        return png_url(image, png_level)

    return ImageEncoder(f"data URL, PNG level {png_level}", encode)


def png_url(image: Image.Image, level: int) -> WireImage:
    """The data URL of an image as the model is to receive it, as PNG."""
    return _wire(image, "png", png(image, level))


def wire_images(images: Sequence[Image.Image | WireImage], level: int) -> list[WireImage]:
    """Data URLs of images that may be encoded already; takes as long as encoding does."""
    return [i if isinstance(i, WireImage) else png_url(i, level) for i in images]


def _wire(image: Image.Image, kind: str, file: bytes) -> WireImage:
    head = f"data:image/{kind};base64,".encode()
    return WireImage(image.size, head + base64.b64encode(file))
