"""The two-stage adapter of Perceive-to-Reason, pure and shared by evaluation and training.

It needs no engine and no torch, and reads files only to load a profile. Only `render` touches pixels.
"""

from p2r_bench.adapter.annotation import annotate
from p2r_bench.adapter.answers import extract_answer
from p2r_bench.adapter.boxes import check_boxes, parse_boxes, read_boxes
from p2r_bench.adapter.canvas import Canvas
from p2r_bench.adapter.geometry import crop_rect
from p2r_bench.adapter.pixels import decode, render
from p2r_bench.adapter.profile import Profile, diff_profiles
from p2r_bench.adapter.profile_file import builtin_profiles, load_profile
from p2r_bench.adapter.prompts import PromptPack, builtin_packs, load_pack
from p2r_bench.adapter.thoughts import without_thoughts
from p2r_bench.adapter.two_stage import TwoStage

__all__ = [
    "Canvas",
    "Profile",
    "PromptPack",
    "TwoStage",
    "annotate",
    "builtin_packs",
    "builtin_profiles",
    "check_boxes",
    "crop_rect",
    "decode",
    "diff_profiles",
    "extract_answer",
    "load_pack",
    "load_profile",
    "parse_boxes",
    "read_boxes",
    "render",
    "without_thoughts",
]
