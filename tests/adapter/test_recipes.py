"""Recipes: identity of pixels, and geometry that holds for any image and any text."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from p2r_bench.adapter import TwoStage, builtin_profiles, load_profile, render
from p2r_bench.types import Box, Message, Recipe, Request, Sample, Sampling, Size, Stroke

RECIPE = Recipe(
    source="d" * 64,
    exif="apply",
    alpha="white",
    strokes=(Stroke((1, 2, 30, 40), "red", 3),),
    crop=(0, 0, 50, 60),
    resize=((64, 64),),
)
REQUEST = Request(
    sample_id="row-1",
    role="reason",
    messages=(Message("system", ("Be brief.",)), Message("user", (RECIPE, "Which letter?"))),
    sampling=Sampling(),
)


def test_equal_recipes_have_equal_digests() -> None:
    assert RECIPE.digest == replace(RECIPE).digest


def test_digests_do_not_change_between_versions_without_notice() -> None:
    assert RECIPE.digest == "3ca83706ec1cea375238dd828e40eefad9246a1cd2815c8b6b4ef9df2c805626"
    assert REQUEST.digest == "5c3d74a28b831bd87c010b1d53c51450a7cc87796e08e27881dda4539652e212"


@pytest.mark.parametrize(
    "change",
    [
        {"source": "e" * 64},
        {"exif": "ignore"},
        {"alpha": "drop"},
        {"strokes": ()},
        {"strokes": (Stroke((1, 2, 30, 41), "red", 3),)},
        {"strokes": (Stroke((1, 2, 30, 40), "blue", 3),)},
        {"strokes": (Stroke((1, 2, 30, 40), "red", 4),)},
        {"strokes": RECIPE.strokes * 2},
        {"crop": None},
        {"crop": (0, 0, 50, 61)},
        {"resize": ((64, 96),)},
        {"resize": ((64, 64), (96, 96))},
        {"route": "fast"},
        {"transport": "jpeg:75"},
    ],
    ids=str,
)
def test_whatever_changes_pixels_changes_the_digest(change: dict[str, object]) -> None:
    assert replace(RECIPE, **change).digest != RECIPE.digest


@pytest.mark.parametrize(
    "changed",
    [
        replace(REQUEST, messages=REQUEST.messages[:1]),
        replace(REQUEST, messages=(Message("user", ("Be brief.",)), REQUEST.messages[1])),
        replace(REQUEST, messages=(REQUEST.messages[0], Message("user", (RECIPE, "Which?")))),
        replace(
            REQUEST, messages=(REQUEST.messages[0], Message("user", ("Which letter?", RECIPE)))
        ),
        replace(REQUEST, sampling=Sampling(temperature=0.5)),
        REQUEST.with_seed(1),
        replace(REQUEST, schema={"type": "array"}),
    ],
)
def test_whatever_changes_a_call_changes_its_digest(changed: Request) -> None:
    assert changed.digest != REQUEST.digest


def test_a_lone_surrogate_in_a_question_still_has_a_digest(
    make_sample: Callable[..., Sample],
) -> None:
    sample = make_sample(question="What is \ud800?")
    assert len(TwoStage(load_profile()).perceive_request(sample).digest) == 64


def test_digests_are_the_same_in_another_process() -> None:
    code = (
        "from p2r_bench.adapter import *\n"
        "from tests.adapter.test_recipes import RECIPE, REQUEST\n"
        "print(RECIPE.digest, REQUEST.digest, *(load_profile(n).hash for n in builtin_profiles()))"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    hashes = (load_profile(name).hash for name in builtin_profiles())
    assert result.stdout.split() == [RECIPE.digest, REQUEST.digest, *hashes]


@st.composite
def shapes(draw: st.DrawFn) -> Size:
    short = draw(st.integers(1, 4000))
    long = draw(st.integers(short, min(200 * short, 30000)))
    return draw(st.permutations((short, long)))  # type: ignore[return-value]


corner = st.one_of(
    st.integers(-200, 1200), st.floats(), st.booleans(), st.none(), st.text(max_size=3)
)
entry = st.fixed_dictionaries(
    {"bbox_2d": st.lists(corner, min_size=3, max_size=5)}, optional={"label": corner}
)


@given(
    size=st.one_of(st.sampled_from([(1, 1), (20000, 400), (100, 20000), (7680, 4320)]), shapes()),
    orientation=st.integers(1, 8),
    entries=st.lists(entry, max_size=6),
    name=st.sampled_from(builtin_profiles()),
)
def test_any_boxes_on_any_image_give_evidence_inside_image_and_budget(
    make_sample: Callable[..., Sample],
    size: Size,
    orientation: int,
    entries: list[dict[str, object]],
    name: str,
) -> None:
    profile, sample = load_profile(name), make_sample(size, orientation)
    two = TwoStage(profile)
    evidence = two.evidence(sample, json.dumps(entries))
    turned = profile.image.exif == "apply" and orientation >= 5
    width, height = size[::-1] if turned else size
    assert len(evidence.crops) == len(evidence.crop_boxes) <= 3
    assert (evidence.annotated is None) == (not evidence.crops)
    for crop in evidence.crops:
        assert crop.crop is not None
        assert 0 <= crop.crop[0] < crop.crop[2] <= width
        assert 0 <= crop.crop[1] < crop.crop[3] <= height
    for recipe in two.reason_request(sample, evidence).recipes:
        assert (
            profile.image.min_pixels <= recipe.size[0] * recipe.size[1] <= profile.image.max_pixels
        )
        assert recipe.size[0] % 32 == recipe.size[1] % 32 == 0
    assert two.reason_request(sample, evidence).visual_tokens <= profile.visual_tokens("reason")


@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    boxes=st.lists(st.tuples(*[st.floats()] * 4).map(Box), max_size=5),
)
@settings(max_examples=40)
def test_any_box_list_can_be_rendered(
    make_sample: Callable[..., Sample], size: Size, boxes: list[Box]
) -> None:
    sample, two = make_sample(size), TwoStage(load_profile("tiny"))
    evidence = two.evidence_from_boxes(sample, boxes)
    for recipe in two.reason_request(sample, evidence).recipes:
        assert render(recipe, Image.new("RGB", size)).size == recipe.size


def test_an_extreme_image_with_thousands_of_boxes_is_rendered(
    make_sample: Callable[..., Sample],
) -> None:
    sample, two = make_sample((20000, 400)), TwoStage(load_profile("tiny"))
    many = [{"bbox_2d": [i % 900, i % 700, i % 900 + 50, 1e300]} for i in range(3000)]
    evidence = two.evidence(sample, json.dumps(many))
    assert evidence.annotated is not None
    assert len(evidence.annotated.strokes) == 3000
    assert (
        render(evidence.annotated, Image.new("RGB", (20000, 400))).size == evidence.annotated.size
    )
