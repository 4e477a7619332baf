"""Images as the data URLs in which OpenAI-compatible servers take them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

from p2r_bench.adapter.pixels import compressed
from p2r_bench.engines.png import png
from p2r_bench.errors import EngineError
from p2r_bench.types import ImageEncoder, Recipe, WireImage

if TYPE_CHECKING:
    from PIL import Image


def url_encoder(png_level: int) -> ImageEncoder:
    """Return the encoder of images as data URLs.

    An image is sent in the lossy file format of its recipe's transport if no resizing follows it (`Recipe.lossy_file`), and
    as PNG otherwise.
    """

    def encode(recipe: Recipe, image: Image.Image) -> WireImage:
        if recipe.lossy_file:
            kind = recipe.transport.partition(":")[0]
            return _wire(image, kind, compressed(image, recipe.transport))
        return png_url(image, png_level)

    return ImageEncoder(f"data URL, PNG level {png_level}", encode)


def png_url(image: Image.Image, level: int) -> WireImage:
    """Return an image as the data URL of a PNG file."""
    return _wire(image, "png", png(image, level))


def wire_images(images: Sequence[Image.Image | WireImage], level: int) -> list[WireImage]:
    """Return images as data URLs. Images that are encoded already are returned unchanged."""
    return [i if isinstance(i, WireImage) else png_url(i, level) for i in images]


def check_bytes(images: Sequence[object], most: int, where: str) -> None:
    """Refuse an encoded image whose file is larger than the profile allows.

    Args:
        most: The profile's `image.max_bytes`; 0 for no cap.
        where: Start of the error's message.

    Raises:
        EngineError: A file is too large; the message names the profile's fields to change.
    """
    for number, image in enumerate(images):
        if most and isinstance(image, WireImage):
            head = image.data[: image.data.index(b",")]
            size = (len(image.data) - len(head) - 1) * 3 // 4 - image.data[-2:].count(b"=")
            if size > most:
                kind = head.removeprefix(b"data:image/").partition(b";")[0].decode()
                raise EngineError(
                    f"{where}: image {number}, {image.size[0]}×{image.size[1]} pixels, has {size} bytes as {kind}, and the "
                    f"profile's image.max_bytes is {most}. Files are smaller under image.transport = "
                    '"jpeg:85" or a smaller image.max_pixels',
                    kind="image_bytes",
                    retryable=False,
                )


def _wire(image: Image.Image, kind: str, file: bytes) -> WireImage:
    head = f"data:image/{kind};base64,".encode()
    return WireImage(image.size, head + base64.b64encode(file))
