"""A canvas gives the pixels of `render`, with less work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from p2r_bench.adapter import render
from p2r_bench.adapter.canvas import Canvas
from p2r_bench.types import Recipe, Stroke

WIDTH, HEIGHT = 160, 90
NOISE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
SOURCE = Image.fromarray(NOISE)

edges = st.integers(-30, 200)
strokes = st.builds(
    lambda x, y, w, h, colour, width: Stroke((x, y, x + w, y + h), colour, width),
    edges,
    edges,
    st.integers(0, 120),
    st.integers(0, 120),
    st.sampled_from(["red", "green", "blue"]),
    st.integers(1, 11),
)
recipes = st.builds(
    Recipe,
    source=st.just("digest"),
    exif=st.just("apply"),
    alpha=st.just("white"),
    strokes=st.lists(strokes, max_size=4).map(tuple),
    crop=st.none() | st.just((10, 20, 100, 80)),
    resize=st.lists(
        st.sampled_from([(64, 32), (32, 64), (320, 192), (WIDTH, 32), (64, HEIGHT)]),
        min_size=1,
        max_size=2,
    ).map(tuple),
    transport=st.sampled_from(["lossless", "jpeg:75"]),
)


@given(st.lists(recipes, min_size=1, max_size=3))
@settings(max_examples=150, deadline=None)
def test_a_canvas_gives_the_pixels_of_render_to_the_bit(asked: list[Recipe]) -> None:
    canvas = Canvas(SOURCE)
    for recipe in asked:
        assert canvas.render(recipe).tobytes() == render(recipe, SOURCE).tobytes()
    assert SOURCE.tobytes() == NOISE.tobytes()


def test_rows_without_a_stroke_are_resized_once() -> None:
    canvas = Canvas(SOURCE)
    plain = Recipe("digest", "apply", "white", (), None, ((64, 32),))
    canvas.render(plain)
    (narrow,) = canvas._narrow.values()
    before = narrow.tobytes()
    canvas.render(replace(plain, strokes=(Stroke((20, 20, 60, 60), "red", 3),)))
    assert canvas._narrow == {64: narrow}
    assert narrow.tobytes() == before, "what is shared stays clean"
