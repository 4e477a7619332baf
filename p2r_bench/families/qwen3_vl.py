"""Qwen3-VL and the vision models of Qwen3.5 and 3.6."""

from __future__ import annotations

from p2r_bench.families.smart_resize import SmartResize


class Qwen3VL(SmartResize):
    """32 pixels a token; boxes as `bbox_2d` in thousandths, x first (Qwen3-VL's own cookbook)."""

    name = "qwen3-vl"
    model_types = ("qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe")
    names = r"qwen-?3(\.[0-9]+)?-vl|qwen-?3\.[56]|\bp2r-(2|4|8)b\b|p2r-tiny"
    never_sampled = (
        "<|image_pad|>",
        "<|video_pad|>",
        "<|vision_pad|>",
        "<|vision_start|>",
        "<|vision_end|>",
    )
    factor = alignment = 32
