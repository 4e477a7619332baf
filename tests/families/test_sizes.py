"""Sizes and token counts are those of the families' own image processors."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from p2r_bench.families import Budget, Family
from p2r_bench.families.gemma import Gemma
from p2r_bench.families.glm_4v import Glm4V
from p2r_bench.families.internvl import InternVL
from p2r_bench.families.pixels_seen import PixelsSeen
from p2r_bench.families.qwen2_5_vl import Qwen25VL
from p2r_bench.families.qwen3_vl import Qwen3VL
from p2r_bench.families.server import Server

BUDGETS = (Budget(65_536, 4_194_304), Budget(12_544, 1_003_520), Budget(65_536, 2_600_000))


def random_sizes(count: int, seed: int = 0) -> list[tuple[int, int]]:
    """Sizes from icons to 8K, some of them long strips."""
    draw = random.Random(seed)
    sizes: list[tuple[int, int]] = []
    while len(sizes) < count:
        width, height = int(2 ** draw.uniform(5, 13)), int(2 ** draw.uniform(5, 13))
        if max(width, height) <= 150 * min(width, height):
            sizes.append((width, height))
    return sizes


def smart_resize(factor: int, frames: int) -> Callable[..., tuple[int, int]]:
    """The rule of the Qwen-VL or GLM-V family in transformers: height, width and limits to height and width."""
    if frames == 1:
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize as qwen

        return lambda h, w, size: qwen(
            h, w, factor, min_pixels=size["shortest_edge"], max_pixels=size["longest_edge"]
        )
    from transformers.models.glm4v.image_processing_pil_glm4v import smart_resize as glm

    return lambda h, w, size: glm(
        num_frames=2,
        height=h,
        width=w,
        temporal_factor=2,
        factor=factor,
        min_pixels=size["shortest_edge"],
        max_pixels=size["longest_edge"],
    )


@pytest.mark.parametrize("budget", BUDGETS, ids=str)
@pytest.mark.parametrize("family", [Qwen3VL(), Qwen25VL(), Glm4V()], ids=lambda f: f.name)
def test_smart_resize_is_the_rule_of_transformers(family: Any, budget: Budget) -> None:
    """Ordinary shapes get the processor's size; the processor leaves every result alone."""
    rule = smart_resize(family.factor, family.frames)
    limits = family.processor_size(budget)["size"]
    same = 0
    for width, height in random_sizes(500):
        fitted = family.fit((width, height), budget)
        assert rule(fitted[1], fitted[0], limits) == fitted[::-1]
        same += rule(height, width, limits) == fitted[::-1]
        assert family.visual_tokens(fitted) == fitted[0] * fitted[1] // family.factor**2
        assert budget.min_pixels <= fitted[0] * fitted[1] <= budget.max_pixels
    assert same > 480


def seen_by(processor: Any, size: tuple[int, int], **kwargs: Any) -> Any:
    """The processor's output for an image of this size, as NumPy arrays."""
    image = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    return processor(images=[image], return_tensors="np", **kwargs)


@pytest.mark.parametrize("tokens", [70, 280, 1120])
def test_gemma_sizes_are_those_of_its_processor(tokens: int) -> None:
    from transformers.models.gemma4.image_processing_pil_gemma4 import (
        get_aspect_ratio_preserving_size,
    )

    family = Gemma()
    budget = Budget(0, tokens * 48**2)
    assert family.processor_size(budget) == {"max_soft_tokens": tokens}

    def rule(size: tuple[int, int]) -> tuple[int, int]:
        height, width = get_aspect_ratio_preserving_size(size[1], size[0], 16, tokens * 9, 3)
        return width, height

    for size in random_sizes(500):
        fitted = family.fit(size, budget)
        assert fitted == rule(size)
        assert family.visual_tokens(fitted) <= tokens


def test_gemma_counts_the_tokens_that_its_processor_counts() -> None:
    from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

    family, processor = Gemma(), Gemma4ImageProcessorPil()
    budget = Budget(0, 280 * 48**2)
    for size in random_sizes(12, seed=1):
        fitted = family.fit(size, budget)
        seen = seen_by(processor, size, **family.processor_size(budget))
        assert int(seen["num_soft_tokens_per_image"][0]) == family.visual_tokens(fitted)


@pytest.mark.parametrize("tiles", [4, 12])
def test_internvl_grids_are_those_of_its_processor(tiles: int) -> None:
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

    family, budget = InternVL(), Budget(0, tiles * 448**2)

    def rule(size: tuple[int, int]) -> tuple[int, int]:
        columns, rows = get_optimal_tiled_canvas(size[::-1], (448, 448), 1, tiles)
        return columns * 448, rows * 448

    for size in random_sizes(500):
        fitted = family.fit(size, budget)
        assert fitted == rule(size)
        assert rule(fitted) == fitted
        grid = fitted[0] // 448 * (fitted[1] // 448)
        assert family.visual_tokens(fitted) == 256 * (grid + (grid > 1))


def test_internvl_counts_the_tiles_that_its_processor_makes() -> None:
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    family, budget = InternVL(), Budget(0, 12 * 448**2)
    processor = GotOcr2ImageProcessorPil(size={"height": 448, "width": 448})
    for size in random_sizes(8, seed=2):
        fitted = family.fit(size, budget)
        seen = seen_by(processor, fitted, **family.processor_size(budget))
        assert 256 * len(seen["pixel_values"]) == family.visual_tokens(fitted)


@pytest.mark.parametrize("family", [PixelsSeen(), Server()], ids=lambda f: f.name)
def test_families_behind_a_url_never_enlarge_and_count_nothing(family: Family) -> None:
    for size in random_sizes(500):
        wide, high = family.fit(size, Budget(0, 4_194_304))
        assert 1 <= wide <= size[0] and 1 <= high <= size[1]
        assert family.visual_tokens((wide, high)) is None


def test_an_image_that_is_sent_to_a_provider_is_not_shrunk_again() -> None:
    for size in random_sizes(500):
        wide, high = PixelsSeen().fit(size, Budget(0, 4_194_304))
        assert max(wide, high) <= 1568 and wide * high <= 1_150_000
