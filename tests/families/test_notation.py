"""Boxes survive being written and read in every notation."""

from __future__ import annotations

import json

import pytest

from p2r_bench.families import Family
from p2r_bench.families.gemma import Gemma
from p2r_bench.families.glm_4v import Glm4V
from p2r_bench.families.internvl import InternVL
from p2r_bench.families.pixels_seen import PixelsSeen
from p2r_bench.families.qwen2_5_vl import Qwen25VL
from p2r_bench.families.qwen3_vl import Qwen3VL
from p2r_bench.families.server import Server
from p2r_bench.types import Box

ALL: list[Family] = [
    *(Qwen3VL(), Qwen25VL(), Glm4V(), Gemma()),
    *(InternVL(), PixelsSeen(), Server()),
]
SIZE = (2000, 1000)
BOX = Box((100.0, 200.0, 400.0, 900.0), "sign")


@pytest.mark.parametrize("family", ALL, ids=lambda f: f.name)
def test_a_box_comes_back_in_thousandths(family: Family) -> None:
    notation = family.boxes
    (entry,) = json.loads(notation.as_json(notation.write([BOX], SIZE)))
    corners = notation.in_order(entry[notation.key])
    assert notation.in_thousandths(corners, SIZE) == pytest.approx(BOX.xyxy, abs=1)
    assert entry["label"] == "sign"


def test_notations_look_as_their_makers_document_them() -> None:
    written = {family.name: family.boxes.write([BOX], SIZE) for family in ALL}
    assert written["qwen3-vl"] == '[{"bbox_2d": [100.0, 200.0, 400.0, 900.0], "label": "sign"}]'
    assert written["qwen2.5-vl"] == '[{"bbox_2d": [200, 200, 800, 900], "label": "sign"}]'
    assert written["gemma"] == '[{"box_2d": [200.0, 100.0, 900.0, 400.0], "label": "sign"}]'
    assert written["internvl"] == "<ref>sign</ref><box>[[100.0, 200.0, 400.0, 900.0]]</box>"
    assert written["glm-4v"] == (
        '<|begin_of_box|>[{"bbox_2d": [100.0, 200.0, 400.0, 900.0], "label": "sign"}]<|end_of_box|>'
    )


def test_corners_without_a_label_are_read() -> None:
    glm, internvl = Glm4V().boxes, InternVL().boxes
    assert json.loads(glm.as_json("<|begin_of_box|>[[1, 2, 3, 4]]<|end_of_box|>")) == [
        {"bbox_2d": [1, 2, 3, 4]}
    ]
    assert json.loads(internvl.as_json("Here: <box>[[1, 2, 3, 4], [5, 6, 7, 8]]</box>")) == [
        {"bbox_2d": [1, 2, 3, 4], "label": None},
        {"bbox_2d": [5, 6, 7, 8], "label": None},
    ]
