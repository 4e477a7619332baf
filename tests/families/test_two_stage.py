"""The two-stage adapter under each family: prompts, visual tokens, and where boxes land in pixels."""

from __future__ import annotations

import pytest
from PIL import Image

from p2r_bench.adapter import TwoStage, load_profile, render
from p2r_bench.errors import UserError
from p2r_bench.families import find_family
from p2r_bench.plugins import registry
from p2r_bench.run.family import with_family
from p2r_bench.run.spec import EngineChoice, RunSpec
from p2r_bench.types import Box, ImageRef, Sample

SIZE = (2000, 1000)
MARK = (1200, 300, 1400, 500)
"""The red square of the image, in pixels: left, top, right, bottom."""
BOX = Box((600.0, 300.0, 700.0, 500.0), "square")
FAMILIES = registry().names("family")
SAMPLE = Sample(
    "s", "t", ImageRef(data=b"", digest="d", size=SIZE), "What is red?", "A", options={"A": "it"}
)


def picture() -> Image.Image:
    image = Image.new("RGB", SIZE, "white")
    image.paste("red", MARK)
    return image


@pytest.mark.parametrize("name", FAMILIES)
def test_a_box_in_the_familys_notation_crops_the_square_it_names(name: str) -> None:
    two = TwoStage(load_profile("p2r").with_family(name))
    sent = two.perceive_request(SAMPLE).recipes[0].size
    evidence = two.evidence(SAMPLE, find_family(name).boxes.write([BOX], sent))
    assert evidence.parse_status == "boxes"
    assert evidence.boxes[0].xyxy == pytest.approx(BOX.xyxy, abs=1)
    (crop,) = evidence.crops
    left, top, right, bottom = crop.crop or (0, 0, 0, 0)
    assert left < MARK[0] and top < MARK[1] and right > MARK[2] and bottom > MARK[3]
    assert right - left <= 620 and bottom - top <= 420
    shown = render(crop, picture()).convert("RGB")
    red, _, blue = shown.getpixel((shown.width // 2, shown.height // 2))  # type: ignore[misc]
    assert red > 200 > 60 > blue


@pytest.mark.parametrize("name", FAMILIES)
def test_visual_tokens_are_the_familys(name: str) -> None:
    two = TwoStage(load_profile("p2r").with_family(name))
    request = two.perceive_request(SAMPLE)
    family = find_family(name)
    assert request.visual_tokens == family.visual_tokens(request.recipes[0].size)
    most = family.most_visual_tokens(two.profile.budget)
    assert (most is None) == (request.visual_tokens is None)
    assert most is None or 0 < (request.visual_tokens or 0) <= most


def test_factor_28_counts_its_own_tokens() -> None:
    two = TwoStage(load_profile("p2r").with_family("qwen2.5-vl"))
    request = two.perceive_request(SAMPLE)
    wide, high = request.recipes[0].size
    assert request.visual_tokens == (wide // 28) * (high // 28)


def test_the_prompt_asks_in_the_familys_notation() -> None:
    texts = {
        name: str(
            TwoStage(load_profile("p2r").with_family(name))
            .perceive_request(SAMPLE)
            .messages[-1]
            .content[-1]
        )
        for name in FAMILIES
    }
    assert '[{"box_2d": [y1, x1, y2, x2], "label": "what it shows"}]' in texts["gemma"]
    assert "<ref>what it shows</ref><box>[[x1, y1, x2, y2]]</box>" in texts["internvl"]
    assert "from 0 to 1000" in texts["qwen3-vl"] and "from 0 to 1000" not in texts["qwen2.5-vl"]
    sent = TwoStage(load_profile("p2r").with_family("qwen2.5-vl")).perceive_request(SAMPLE)
    wide, high = sent.recipes[0].size
    assert f"{wide} wide and {high} high" in texts["qwen2.5-vl"]


def test_families_have_profile_hashes_of_their_own() -> None:
    hashes = {load_profile("p2r").with_family(name).hash for name in FAMILIES}
    assert len(hashes) == len(FAMILIES)
    assert load_profile("p2r").hash == load_profile("p2r").with_family("qwen3-vl").hash


def chosen(model: str, engine: str = "transformers", **fields: object) -> str:
    spec = RunSpec("HR-Bench", choice=EngineChoice(model, engine), **fields)  # type: ignore[arg-type]
    return with_family(load_profile("p2r"), spec).family


@pytest.mark.parametrize(
    ("model", "engine", "family"),
    [
        ("p2r-tiny", "transformers", "qwen3-vl"),
        ("Qwen/Qwen3-VL-8B-Instruct", "openai", "qwen3-vl"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "vllm", "qwen2.5-vl"),
        ("zai-org/GLM-4.1V-9B-Thinking", "openai", "glm-4v"),
        ("google/gemma-4-27b-it", "openai", "gemma"),
        ("OpenGVLab/InternVL3_5-8B-HF", "openai", "internvl"),
        ("claude-sonnet-4-5", "openai", "pixels-seen"),
        ("my-model", "openai", "server"),
        ("my-org/my-model", "vllm", "qwen3-vl"),
    ],
)
def test_auto_takes_the_family_of_the_model(model: str, engine: str, family: str) -> None:
    assert chosen(model, engine) == family


def test_a_model_of_another_family_is_refused_with_the_one_that_fits(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "config.json").write_text('{"model_type": "glm4v"}')
    assert chosen(str(tmp_path)) == "glm-4v"
    with pytest.raises(UserError, match=r"model_type 'glm4v'.*--family glm-4v"):
        chosen(str(tmp_path), family="qwen3-vl")
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    with pytest.raises(UserError, match=r"no family serves.*'llava'.*--family server"):
        chosen(str(tmp_path))
    assert chosen(str(tmp_path), family="server") == "server"
