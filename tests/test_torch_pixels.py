"""The route `fast` against Pillow's filter, value by value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from PIL import _imaging as core

from p2r_bench.adapter import decode, render
from p2r_bench.adapter.routes import pillow_bicubic, resize_route
from p2r_bench.synth import iter_rows
from p2r_bench.types import Recipe, Size, Stroke

MOST_LEVELS = 3
"""Most by which a value differs from Pillow's, whatever the image."""
MOST_DIFFERING = 0.03
"""Largest share of values that differ at all."""
MOST_BY_TWO = 1e-4
"""Largest share of values that differ by two levels."""

SIDES = st.integers(1, 300)


def differences(a: Image.Image, b: Image.Image) -> NDArray[np.int16]:
    assert (a.size, a.mode) == (b.size, b.mode)
    return np.abs(np.asarray(a, dtype=np.int16) - np.asarray(b, dtype=np.int16))


def noise(size: Size, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES))
@settings(max_examples=60, deadline=None)
def test_any_size_from_any_size_and_never_far_from_pillows(source: Size, target: Size) -> None:
    image = noise(source)
    made = resize_route("fast")(image, target)
    assert made.size == target
    assert differences(made, pillow_bicubic(image, target)).max() <= MOST_LEVELS


def test_a_photograph_like_image_differs_in_few_values_and_by_little() -> None:
    image = decode(next(iter_rows(0, 1, "4k")).image)
    for size in [(2720, 1536), (1024, 576), (3872, 2176)]:
        apart = differences(resize_route("fast")(image, size), pillow_bicubic(image, size))
        assert apart.max() <= 2
        assert (apart > 0).mean() <= MOST_DIFFERING
        assert (apart > 1).mean() <= MOST_BY_TWO


def test_an_image_whose_memory_is_split_gives_the_same_pixels() -> None:
    fast, size = resize_route("fast"), (640, 480)
    whole = noise((2600, 1700))  # 17.7 MB in memory
    block = core.get_block_size()
    core.set_block_size(1 << 20)
    try:
        split = whole.copy()
    finally:
        core.set_block_size(block)
    with pytest.raises(ValueError, match="not contiguous"):
        split.__arrow_c_array__()
    assert fast(whole, size).tobytes() == fast(split, size).tobytes()


def test_a_recipe_on_the_fast_route_changes_the_filter_alone() -> None:
    image = noise((400, 300))
    stroke = Stroke((20, 30, 200, 180), "red", 3)
    recipe = Recipe("d", "apply", "white", (stroke,), (10, 10, 310, 250), ((96, 64),), "fast")
    exact = Recipe("d", "apply", "white", (stroke,), (10, 10, 310, 250), ((96, 64),), "exact")
    before = image.tobytes()
    made = render(recipe, image)
    assert differences(made, render(exact, image)).max() <= MOST_LEVELS
    assert recipe.digest != exact.digest
    assert image.tobytes() == before


def test_what_needs_no_resize_is_the_same_on_both_routes() -> None:
    image = noise((64, 32))
    made = render(Recipe("d", "apply", "white", (), None, ((64, 32),), "fast"), image)
    assert made.tobytes() == image.tobytes()
