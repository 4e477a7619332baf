"""Patches made here are those of the model family's own image processor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from p2r_bench_pra_grpo.backends.embedded.patches import patches_of
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from p2r_bench.errors import UserError

FAMILY = {"patch_size": 16, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}


@settings(max_examples=25, deadline=None)
@given(columns=st.integers(1, 6), rows=st.integers(1, 6), seed=st.integers(0, 99))
def test_they_equal_the_processors(columns: int, rows: int, seed: int) -> None:
    processor = Qwen2VLImageProcessorPil(**FAMILY)
    patches = patches_of(processor, "model")
    processor.size = {"shortest_edge": 1024, "longest_edge": 1 << 24}
    size = (32 * columns, 32 * rows)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    theirs = processor(images=[Image.fromarray(pixels)], return_tensors="pt")
    assert torch.allclose(patches(torch.from_numpy(pixels)), theirs["pixel_values"], atol=1e-5)
    assert list(patches.grid(*size)) == theirs["image_grid_thw"][0].tolist()
    assert patches.tokens(*size) == columns * rows


@pytest.mark.parametrize("other", [{"do_normalize": False}, {"do_rescale": False}])
def test_a_processor_that_does_something_else_is_refused(other: dict[str, bool]) -> None:
    with pytest.raises(UserError, match="Qwen3-VL family"):
        patches_of(Qwen2VLImageProcessorPil(**FAMILY, **other), "model")


def test_a_processor_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match="some/model"):
        patches_of(object(), "some/model")
