"""The bundled model's folders, without running the models."""

from __future__ import annotations

import json
import math
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from p2r_bench.adapter import TwoStage, load_profile
from p2r_bench.families import Budget
from p2r_bench.families.qwen3_vl import Qwen3VL
from p2r_bench.synth.rows import questions, rotated
from p2r_bench.types import ImageRef, Sample

ROOT = Path(str(resources.files("p2r_bench") / "bundled"))
REVISIONS = ("p2r-tiny", "p2r-tiny-base")
TOKENIZER = Tokenizer.from_file(str(ROOT / "p2r-tiny" / "tokenizer.json"))


def _tensors(folder: Path) -> dict[str, dict]:
    """The header of a safetensors file: name to dtype and shape."""
    with (folder / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {name: entry for name, entry in header.items() if name != "__metadata__"}


@pytest.mark.parametrize("revision", REVISIONS)
def test_weights_are_small_and_half_precision(revision: str) -> None:
    tensors = _tensors(ROOT / revision)
    assert {entry["dtype"] for entry in tensors.values()} == {"F16"}
    assert sum(math.prod(entry["shape"]) for entry in tensors.values()) <= 6_000_000
    assert (ROOT / revision / "model.safetensors").stat().st_size <= 12_000_000


@pytest.mark.parametrize("revision", REVISIONS)
def test_folder_is_a_qwen3_vl_folder_that_names_its_profile(revision: str) -> None:
    config = json.loads((ROOT / revision / "config.json").read_text())
    assert config["architectures"] == ["Qwen3VLForConditionalGeneration"]
    text = config["text_config"]
    assert text["head_dim"] % 32 == 0
    assert sum(text["rope_parameters"]["mrope_section"]) == text["head_dim"] // 2
    assert (
        max(config["vision_config"]["deepstack_visual_indexes"]) < config["vision_config"]["depth"]
    )
    assert json.loads((ROOT / revision / "p2r_bench.json").read_text()) == {"profile": "tiny"}


def test_revisions_differ_in_their_weights_alone() -> None:
    for name in (
        "config.json",
        "tokenizer.json",
        "preprocessor_config.json",
        "chat_template.jinja",
    ):
        assert (ROOT / REVISIONS[0] / name).read_bytes() == (
            ROOT / REVISIONS[1] / name
        ).read_bytes()
    weights = [(ROOT / revision / "model.safetensors").read_bytes() for revision in REVISIONS]
    assert weights[0] != weights[1]


@given(st.integers(1, 8000), st.integers(1, 8000))
def test_processor_has_nothing_left_to_resize(width: int, height: int) -> None:
    if max(width, height) > 200 * min(width, height):
        return
    budget = load_profile("tiny").image
    settings = json.loads((ROOT / "p2r-tiny" / "preprocessor_config.json").read_text())
    assert settings["size"] == {
        "shortest_edge": budget.min_pixels,
        "longest_edge": budget.max_pixels,
    }
    once = Qwen3VL().fit((width, height), Budget(budget.min_pixels, budget.max_pixels))
    assert Qwen3VL().fit(once, Budget(budget.min_pixels, budget.max_pixels)) == once


@given(st.text())
def test_any_text_survives_the_tokenizer(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False).ids
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("number", [0, 7, 42, 999, 1000])
def test_numbers_to_a_thousand_are_one_token(number: int) -> None:
    assert len(TOKENIZER.encode(str(number), add_special_tokens=False).ids) == 1


def test_special_tokens_are_the_familys() -> None:
    for token in (
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
    ):
        assert len(TOKENIZER.encode(token).ids) == 1


def test_prompts_of_the_default_pack_are_short() -> None:
    """The pack's sentences are tokens: a changed pack shows here, and asks for a new training."""
    question, start = next(questions(0, 1))
    options, answer = rotated(question, start, 0)
    sample = Sample(
        id="x", task="Synth-HR", image=ImageRef(digest="x", size=(3840, 2160)),
        question=question.text, options=options, answer=answer,
    )  # fmt: skip
    two = TwoStage(load_profile("tiny"))
    for request in (two.perceive_request(sample), two.single_request(sample, "think")):
        said = "".join(part for part in request.messages[-1].content if isinstance(part, str))
        assert len(TOKENIZER.encode(said, add_special_tokens=False).ids) <= 14
