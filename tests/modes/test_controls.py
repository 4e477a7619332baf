"""The controls: each takes one thing away from p2r, and nothing else."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from p2r_bench.adapter import TwoStage, decode, load_profile, render
from p2r_bench.errors import UserError
from p2r_bench.modes.blind import Blind
from p2r_bench.modes.crop_only import CropOnly
from p2r_bench.modes.p2r import P2R
from p2r_bench.modes.p2r_blank import P2RBlank
from p2r_bench.modes.p2r_full import P2RFull
from p2r_bench.modes.p2r_random import P2RRandom, elsewhere
from p2r_bench.modes.p2r_shuffled import P2RShuffled
from p2r_bench.plugins import registry
from p2r_bench.run.panel import PANEL, expanded
from p2r_bench.run.sweep import specs_of
from p2r_bench.store.reader import RunReader
from p2r_bench.store.recipes import recipe_from_json, recipe_to_json
from p2r_bench.tasks.reading import read_image
from p2r_bench.testing import Script, scripted_run, solve, tiny_sample, write_bench
from p2r_bench.types import Box, Mode, Prediction, Request

SAMPLE = tiny_sample()
TWO = TwoStage(load_profile("p2r"))
LOOK = '[{"bbox_2d": [250, 500, 500, 833], "label": "square"}, {"bbox_2d": [0, 0, 90, 80], "label": "corner"}]'
REPLIES = {"perceive": LOOK, "reason": "<answer>B</answer>", "think": "<answer>B</answer>"}
EVIDENCE = TWO.evidence(SAMPLE, LOOK)


def asked(mode: Mode, look: str = LOOK) -> tuple[Prediction, list[Request]]:
    script = Script({**REPLIES, "perceive": look})
    return solve(mode, SAMPLE, script), script.requests


def words(request: Request) -> str:
    return "".join(part for part in request.messages[-1].content if isinstance(part, str))


def test_blind_asks_the_question_of_thinking_without_its_image() -> None:
    prediction, (request,) = asked(Blind())
    assert request.recipes == ()
    assert words(request) == words(TWO.single_request(SAMPLE, "think"))
    assert prediction.answer == "B"


def test_crop_only_shows_the_crops_of_p2r_and_no_whole_image() -> None:
    prediction, requests = asked(CropOnly())
    assert requests[0] == TWO.perceive_request(SAMPLE)
    assert requests[1].recipes == EVIDENCE.crops and len(EVIDENCE.crops) == 2
    assert requests[1].role == "reason" and "region" not in words(requests[1])
    assert prediction.evidence == EVIDENCE


def test_crop_only_without_a_crop_shows_nothing() -> None:
    assert asked(CropOnly(), "[]")[1][1].recipes == ()


def test_full_shows_the_annotated_image_of_p2r_and_no_crop() -> None:
    _, requests = asked(P2RFull())
    assert requests[1].recipes == (EVIDENCE.annotated,)
    assert asked(P2RFull(), "[]")[1][1].recipes == (TWO.whole(SAMPLE),)


def test_blank_differs_from_p2r_in_black_crops_alone() -> None:
    _, (_, blank) = asked(P2RBlank())
    _, (_, shown) = asked(P2R())
    assert words(blank) == words(shown) and blank.sampling == shown.sampling
    assert blank.recipes[0] == shown.recipes[0]
    assert [r.size for r in blank.recipes] == [r.size for r in shown.recipes]
    source = decode(read_image(SAMPLE.image))
    for recipe, seen in zip(blank.recipes[1:], shown.recipes[1:], strict=True):
        assert recipe.digest != seen.digest
        assert render(recipe, source).getcolors() == [(recipe.size[0] * recipe.size[1], (0, 0, 0))]
        assert recipe_from_json(recipe_to_json(recipe)).digest == recipe.digest


def test_a_blank_recipe_keeps_the_size_of_a_lossy_one() -> None:
    recipe = replace(EVIDENCE.crops[0], transport="jpeg:75", blank=True)
    image = render(recipe, Image.new("RGB", (160, 120), "red"), before_transport=True)
    assert (image.size, image.getextrema()) == (recipe.size, ((0, 0),) * 3)


def test_random_shows_boxes_of_the_same_sizes_elsewhere() -> None:
    prediction, (_, request) = asked(P2RRandom())
    evidence = prediction.evidence
    assert evidence is not None
    assert request == TWO.reason_request(SAMPLE, evidence)
    for moved, named in zip(evidence.boxes, EVIDENCE.boxes, strict=True):
        assert sides(moved) == pytest.approx(sides(named))
        assert moved.label == named.label and moved.xyxy != named.xyxy
        assert not any(overlaps(moved, other) for other in EVIDENCE.boxes)


def test_random_places_follow_the_seed_and_the_sample() -> None:
    evidence = [asked(P2RRandom(seed))[0].evidence for seed in (0, 0, 1)]
    assert evidence[0] == evidence[1] != evidence[2]


def sides(box: Box) -> tuple[float, float]:
    x1, y1, x2, y2 = box.xyxy
    return x2 - x1, y2 - y1


def overlaps(a: Box, b: Box) -> bool:
    return (
        min(a.xyxy[2], b.xyxy[2]) > max(a.xyxy[0], b.xyxy[0])
        and min(a.xyxy[3], b.xyxy[3]) > max(a.xyxy[1], b.xyxy[1])
    )  # fmt: skip


@given(
    st.tuples(*[st.floats(-3000, 3000)] * 2, *[st.floats(0.1, 4000)] * 2),
    st.integers(0, 5),
)
def test_a_moved_box_lies_in_the_image(numbers: tuple[float, ...], seed: int) -> None:
    x, y, width, height = numbers
    moved = elsewhere(Box((x, y, x + width, y + height)), [], random.Random(seed))
    assert 0 <= moved.xyxy[0] < moved.xyxy[2] <= 1000.001
    assert 0 <= moved.xyxy[1] < moved.xyxy[3] <= 1000.001


def test_shuffling_moves_the_right_letter_with_its_text() -> None:
    shuffled = [P2RShuffled(seed).prepare(SAMPLE) for seed in range(40)]
    for sample in shuffled:
        assert sample.options[sample.answer] == SAMPLE.options[SAMPLE.answer]
        assert list(sample.options) == list(SAMPLE.options)
        assert Counter(sample.options.values()) == Counter(SAMPLE.options.values())
        assert sample.published_question is None
    assert {sample.answer for sample in shuffled} == set(SAMPLE.options)
    assert P2RShuffled(3).prepare(SAMPLE) == shuffled[3]


def test_a_sample_without_options_is_not_shuffled() -> None:
    assert P2RShuffled().prepare(tiny_sample("number")) == tiny_sample("number")


def test_a_run_asks_judges_and_stores_the_prepared_sample(tmp_path: Path) -> None:
    data = write_bench(tmp_path / "data", questions=4)
    replies = {"perceive": "[]", "reason": "<answer>A</answer>"}
    runs = {
        mode: scripted_run(mode, replies, out=tmp_path, data_dir=data)
        for mode in ("p2r", "p2r-shuffled")
    }
    stored = {
        mode: {
            row["sample_id"]: (row, verdicts[0]) for row, verdicts in RunReader(run.path).outcomes()
        }
        for mode, run in runs.items()
    }
    assert stored["p2r"].keys() == stored["p2r-shuffled"].keys()
    moved = 0
    for key, (row, verdict) in stored["p2r-shuffled"].items():
        moved += row["options"] != stored["p2r"][key][0]["options"]
        assert verdict["correct"] == (row["answer"] == "A")
    assert moved


def test_the_panel_is_every_built_in_mode() -> None:
    built_in = [e.name for e in registry().entries("mode") if e.provider.startswith("p2r-bench ")]
    assert sorted(PANEL) == sorted(built_in)
    assert expanded(["p2r", "panel"])[0] == "p2r" and len(expanded(["p2r", "panel"])) == len(PANEL)
    specs = specs_of({"modes": "panel", "tasks": "Synth-HR"})
    assert [spec.mode for spec in specs] == list(PANEL)


def test_an_unknown_mode_is_still_refused() -> None:
    with pytest.raises(UserError, match="panels"):
        specs_of({"modes": "panels", "tasks": "Synth-HR"})
