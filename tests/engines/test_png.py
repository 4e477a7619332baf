"""Images sent to servers lose nothing."""

from __future__ import annotations

import asyncio
import base64
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from p2r_bench.engines.png import DataURLs, png


def noise(width: int, height: int, seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@settings(deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    level=st.integers(0, 9),
    seed=st.integers(0, 99),
)
def test_a_png_holds_the_same_pixels(width: int, height: int, level: int, seed: int) -> None:
    image = noise(width, height, seed)
    read = Image.open(io.BytesIO(png(image, level)))
    assert read.mode == "RGB"
    assert read.size == image.size
    assert read.tobytes() == image.tobytes()


def test_a_stored_png_of_many_megabytes_is_whole() -> None:
    image = noise(2048, 1024, 1)
    assert Image.open(io.BytesIO(png(image, 0))).tobytes() == image.tobytes()


@pytest.mark.parametrize("kept", [0, 1 << 20])
def test_urls_are_those_of_their_digests_however_many_are_kept(kept: int) -> None:
    images = {str(n): noise(8 + n, 8, n) for n in range(10)}

    async def session() -> list[list[bytes]]:
        urls = DataURLs(1, kept)
        try:
            order = list(images)
            rounds = [order, order[::-1], order]
            return [await urls.get(names, [images[n] for n in names]) for names in rounds]
        finally:
            urls.close()

    first, backwards, again = asyncio.run(session())
    assert first == backwards[::-1] == again
    for url, image in zip(first, images.values(), strict=True):
        data = base64.b64decode(url.removeprefix(b"data:image/png;base64,"), validate=True)
        assert Image.open(io.BytesIO(data)).tobytes() == image.tobytes()
