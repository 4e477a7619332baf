"""Visibility of a mark: none once the whole image is shrunk, full in a padded crop."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from p2r_bench.adapter import TwoStage, load_profile, render
from p2r_bench.synth.render import WHOLE, draw_scene, engraving
from p2r_bench.synth.rows import SIZES, jpeg
from p2r_bench.synth.scene import Scene, Sign, make_scene
from p2r_bench.types import Box, ImageRef, Recipe, Sample

TWO = TwoStage(load_profile("tiny"))


def _sample(resolution: str) -> Sample:
    return Sample(
        id="x",
        task="Synth-HR",
        image=ImageRef(digest="x", size=SIZES[resolution]),
        question="?",
        answer="A",
    )


def _crop(sign: Sign, resolution: str) -> Recipe:
    recipe = TWO.crop(_sample(resolution), Box(tuple(1000 * edge for edge in sign.box)))
    assert recipe is not None
    return recipe


def _decoded(scene: Scene, resolution: str) -> Image.Image:
    return Image.open(io.BytesIO(jpeg(scene, resolution))).convert("RGB")


def _shown_of(scene: Scene, sign: Sign, recipe: Recipe, resolution: str) -> np.ndarray:
    """The pixels inside a sign's mark in what the model receives."""
    image = np.asarray(render(recipe, _decoded(scene, resolution)), dtype=float)
    full_w, full_h = SIZES[resolution]
    left, top, right, bottom = recipe.crop or (0, 0, full_w, full_h)
    w, h = recipe.size
    x1, y1, x2, y2 = sign.mark_box
    xs = [round((edge * full_w - left) / (right - left) * w) for edge in (x1, x2)]
    ys = [round((edge * full_h - top) / (bottom - top) * h) for edge in (y1, y2)]
    return image[ys[0] : ys[1], xs[0] : xs[1]]


def _with_digit(scene: Scene, digit: int) -> tuple[Scene, Sign]:
    sign = replace(scene.signs[0], digit=digit)
    return replace(scene, signs=(sign, *scene.signs[1:])), sign


@pytest.mark.parametrize("resolution", ["4k", "8k"])
def test_marks_differ_plainly_in_the_crop_and_faintly_in_the_shrunk_image(resolution: str) -> None:
    """Two digits on the same plate: the strongest difference of any pixel, in levels of 255."""
    scene = make_scene("test/render")
    digits = range(0, 10, 3) if resolution == "4k" else (1, 8)
    near, far = [], []
    for digit in digits:
        changed, sign = _with_digit(scene, digit)
        near.append(_shown_of(changed, sign, _crop(sign, resolution), resolution))
        far.append(_shown_of(changed, sign, TWO.whole(_sample(resolution)), resolution))
    for a, b in combinations(range(len(near)), 2):
        close, shrunk = np.abs(near[a] - near[b]), np.abs(far[a] - far[b])
        assert close.max() > 50
        assert shrunk.max() < 40
        assert np.sqrt((close**2).sum()) > 6 * np.sqrt((shrunk**2).sum())


def test_what_is_left_of_a_mark_in_the_shrunk_image_drowns_in_the_stains() -> None:
    """Over many plates, marks change the shrunk pixels no more than the plates' own stains do."""
    profile_size = TWO.whole(_sample("4k")).size
    between_digits, between_plates = [], []
    for i in range(12):
        scene = make_scene(f"test/stains/{i}")
        views = []
        for digit in (i % 10, (i + 3) % 10):
            changed, sign = _with_digit(scene, digit)
            views.append(np.asarray(draw_scene(changed, WHOLE, profile_size, 4), dtype=float))
        x1, y1, x2, y2 = sign.mark_box
        w, h = profile_size
        inside = np.s_[round(y1 * h) : round(y2 * h), round(x1 * w) : round(x2 * w)]
        between_digits.append(np.abs(views[0][inside] - views[1][inside]).mean())
        plate = views[0][inside]
        between_plates.append(np.abs(plate - plate.mean((0, 1))).mean())
    assert np.mean(between_digits) < 1.3 * np.mean(between_plates)


@pytest.mark.parametrize("digit", range(10))
def test_engraving_has_no_mean(digit: int) -> None:
    for style in range(3):
        relief = engraving(digit, style)
        assert abs(relief.mean()) < 0.002
        assert np.abs(relief).max() == pytest.approx(1.0)


@pytest.mark.parametrize("resolution", ["4k", "8k"])
def test_direct_views_stand_for_the_real_path(resolution: str) -> None:
    """Drawing a region at the model's size is close to JPEG, adapter crop and resize."""
    for i in range(2 if resolution == "4k" else 1):
        scene = make_scene(f"test/route/{i}")
        source = _decoded(scene, resolution)
        whole = TWO.whole(_sample(resolution))
        real = np.asarray(render(whole, source), dtype=float)
        direct = np.asarray(draw_scene(scene, WHOLE, whole.size, 3), dtype=float)
        assert np.abs(real - direct).mean() < 2
        for sign in scene.signs[:2]:
            recipe = _crop(sign, resolution)
            assert recipe.crop is not None
            width, height = SIZES[resolution]
            left, top, right, bottom = recipe.crop
            region = (left / width, top / height, right / width, bottom / height)
            real = np.asarray(render(recipe, source), dtype=float)
            direct = np.asarray(draw_scene(scene, region, recipe.size, 3), dtype=float)
            assert np.abs(real - direct).mean() < 2


def test_rendering_is_deterministic() -> None:
    scene = make_scene("test/again")
    assert (
        draw_scene(scene, WHOLE, (480, 270)).tobytes()
        == draw_scene(scene, WHOLE, (480, 270)).tobytes()
    )
