"""flash-attn, then sdpa, then eager: by what is there, and refused clearly when asked for and absent."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from p2r_bench.engines.attention import Attention, choose_attention
from p2r_bench.engines.transformers import TransformersEngine
from p2r_bench.errors import UserError
from p2r_bench.types import EngineConfig


class Able:
    _supports_flash_attn = True
    _supports_sdpa = True


class NoFlash:
    _supports_flash_attn = False
    _supports_sdpa = True


class Plain:
    pass


@pytest.fixture
def with_flash_attn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))


@pytest.fixture
def without_flash_attn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)


GPU = {"device": "cuda:0", "dtype": "bfloat16"}


def test_flash_attn_is_taken_when_it_is_there(with_flash_attn: None) -> None:
    assert choose_attention("auto", **GPU, model_class=Able) == "flash_attention_2"
    assert choose_attention("flash-attn", **GPU, model_class=Able) == "flash_attention_2"


def test_sdpa_is_taken_without_flash_attn(without_flash_attn: None) -> None:
    assert choose_attention("auto", **GPU, model_class=Able) == "sdpa"


def test_eager_is_taken_when_the_model_has_nothing_else(with_flash_attn: None) -> None:
    assert choose_attention("auto", **GPU, model_class=Plain) == "eager"


@pytest.mark.parametrize(
    "place", [{"device": "cpu", "dtype": "float32"}, {"device": "cuda", "dtype": "float32"}]
)
def test_flash_attn_is_passed_over_where_it_cannot_run(
    with_flash_attn: None, place: dict[str, str]
) -> None:
    assert choose_attention("auto", **place, model_class=Able) == "sdpa"


@pytest.mark.parametrize("asked", ["sdpa", "eager"])
def test_what_was_asked_for_is_taken(with_flash_attn: None, asked: str) -> None:
    assert choose_attention(asked, **GPU, model_class=Able) == asked


@pytest.mark.parametrize(
    ("place", "model_class", "why"),
    [
        (GPU, Able, r"p2r-bench\[flash\]"),
        (GPU, NoFlash, "NoFlash does not support it"),
        ({"device": "cpu", "dtype": "bfloat16"}, Able, "CUDA"),
        ({"device": "cuda", "dtype": "float32"}, Able, "bfloat16 or float16"),
    ],
)
def test_flash_attn_asked_for_and_absent_is_refused_with_the_reason(
    without_flash_attn: None, place: dict[str, str], model_class: type, why: str
) -> None:
    with pytest.raises(UserError, match=why):
        choose_attention("flash-attn", **place, model_class=model_class)


def test_sdpa_asked_for_and_absent_is_refused() -> None:
    with pytest.raises(UserError, match="Plain does not support it"):
        choose_attention("sdpa", **GPU, model_class=Plain)


@pytest.mark.parametrize(
    ("there", "asked", "taken"),
    [
        (True, "auto", "flash_attention_2"),
        (True, "flash-attn", "flash_attention_2"),
        (True, "eager", "eager"),
        (False, "auto", "sdpa"),
    ],
)
def test_what_was_chosen_is_what_the_model_is_loaded_with_and_what_is_recorded(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, there: bool, asked: Attention, taken: str
) -> None:
    """On a stand-in for a GPU machine: the model stays on the CPU, with an implementation that runs there."""
    import torch
    from transformers import Qwen3VLForConditionalGeneration as Model

    from p2r_bench.engines import loading

    monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn") if there else None)
    monkeypatch.setattr(loading, "choose_device", lambda asked: "cuda:0")
    monkeypatch.setattr(loading, "choose_dtype", lambda asked, device: "bfloat16")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda where: "a stand-in")
    monkeypatch.setattr(Model, "to", lambda self, where: self)
    real, loaded_with = Model.from_pretrained, []

    def from_pretrained(*args: Any, attn_implementation: str, **kwargs: Any) -> Any:
        loaded_with.append(attn_implementation)
        return real(*args, attn_implementation="eager", **kwargs)

    monkeypatch.setattr(Model, "from_pretrained", from_pretrained)
    loaded = loading.load(
        tiny_folder, "tiny", device="auto", dtype="auto", attention=asked, lora=None
    )
    assert loaded_with == [taken]
    assert (loaded.facts["attention"], loaded.facts["device"]) == (taken, "a stand-in")


def test_an_engine_that_is_asked_for_flash_attn_on_a_cpu_does_not_start(
    tiny_folder: Path, with_flash_attn: None
) -> None:
    engine = TransformersEngine(
        EngineConfig(str(tiny_folder), args={"attention": "flash-attn", "device": "cpu"})
    )
    with pytest.raises(UserError, match=r"attention=flash-attn cannot be used: .* CUDA"):
        asyncio.run(engine.start())
