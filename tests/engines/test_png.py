"""Images sent to servers lose nothing but what their recipe's transport loses."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from p2r_bench.adapter import render
from p2r_bench.engines.data_urls import check_bytes, png_url, url_encoder
from p2r_bench.engines.png import png
from p2r_bench.errors import EngineError
from p2r_bench.run.images.rendering import rendered
from p2r_bench.types import Recipe, WireImage

RECIPE = Recipe("source", "apply", "white", (), None, ((64, 32),))


def noise(width: int, height: int, seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def file_of(wire: object) -> tuple[str, bytes]:
    """Media type and bytes of the file in a data URL."""
    assert isinstance(wire, WireImage)
    head, _, data = wire.data.partition(b",")
    return head.decode(), base64.b64decode(data, validate=True)


@settings(deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    level=st.integers(0, 9),
    seed=st.integers(0, 99),
)
def test_a_png_holds_the_same_pixels(width: int, height: int, level: int, seed: int) -> None:
    image = noise(width, height, seed)
    with Image.open(io.BytesIO(png(image, level))) as read:
        read.load()
        assert (read.mode, read.size) == ("RGB", image.size)
        assert read.tobytes() == image.tobytes()


@pytest.mark.parametrize("level", [0, 1])
def test_a_png_of_many_megabytes_is_whole(level: int) -> None:
    image = noise(2048, 1024, 1)
    assert Image.open(io.BytesIO(png(image, level))).tobytes() == image.tobytes()


def test_the_fast_level_compresses_smooth_images() -> None:
    image = Image.linear_gradient("L").resize((640, 480)).convert("RGB")
    assert len(png(image, 1)) < len(png(image, 0)) / 20


def test_lossless_images_are_sent_with_the_pixels_of_their_recipe() -> None:
    source = noise(90, 60, 1)
    head, file = file_of(rendered(RECIPE, source, url_encoder(1)))
    assert head == "data:image/png;base64"
    assert Image.open(io.BytesIO(file)).tobytes() == render(RECIPE, source).tobytes()


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_under_a_lossy_transport_the_file_itself_is_sent(kind: str) -> None:
    source, recipe = noise(90, 60, 1), replace(RECIPE, transport=f"{kind}:75")
    head, file = file_of(rendered(recipe, source, url_encoder(1)))
    assert head == f"data:image/{kind};base64"
    assert Image.open(io.BytesIO(file)).tobytes() == render(recipe, source).tobytes()
    plain = io.BytesIO()
    render(RECIPE, source).save(plain, kind, quality=75)
    assert file == plain.getvalue()


def test_an_image_that_is_resized_behind_its_transport_is_sent_as_it_comes_out() -> None:
    source = noise(90, 60, 1)
    recipe = replace(RECIPE, transport="jpeg:75", resize=((64, 32), (320, 224)))
    head, file = file_of(rendered(recipe, source, url_encoder(1)))
    assert head == "data:image/png;base64"
    assert Image.open(io.BytesIO(file)).tobytes() == render(recipe, source).tobytes()


def test_a_file_beyond_the_profiles_cap_is_refused_by_its_exact_size() -> None:
    for width in (7, 8, 9):  # every padding of base64
        image = png_url(noise(width, 5, width), 1)
        size = len(file_of(image)[1])
        check_bytes([image], size, "it")
        check_bytes([image], 0, "it")
        check_bytes([noise(400, 400, 1)], 1, "it")
        with pytest.raises(
            EngineError, match=rf"it: image 0, {width}×5 pixels, has {size} bytes as png"
        ):
            check_bytes([image], size - 1, "it")
