"""Qwen2.5-VL."""

from __future__ import annotations

from p2r_bench.families.notation import BoxNotation
from p2r_bench.families.qwen3_vl import Qwen3VL
from p2r_bench.families.smart_resize import SmartResize


class Qwen25VL(SmartResize):
    """28 pixels a token; boxes as `bbox_2d` in pixels of the image as resized, x first."""

    name = "qwen2.5-vl"
    model_types = ("qwen2_5_vl",)
    names = r"qwen-?2\.5-vl"
    boxes = BoxNotation(scale="pixels")
    never_sampled = Qwen3VL.never_sampled
    factor = alignment = 28
