"""Boxes survive being written and read in every notation."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.adapter import load_profile, read_boxes
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


FIRST, SECOND = (100.0, 200.0, 300.0, 400.0), (10.0, 20.0, 30.0, 40.0)


@pytest.mark.parametrize(
    ("family", "text", "boxes"),
    [
        ("internvl", "Here: <box>[[100,200,300,400], [10,20,30,40]]</box>", [FIRST, SECOND]),
        ("internvl", "<ref>cat</ref><box>[[100, 200, 300, 400]]", [FIRST]),
        ("internvl", "<ref>cat</ref><box>[[100,200,300,400], [10,20,30", [FIRST]),
        ("internvl", "<ref>cat</ref><box>[[100,200,300,400]]</box><ref>dog</ref><box>[[10,20,30,40]]", [FIRST, SECOND]),
        ("internvl", "<box>[100,200,300,400]</box>", [FIRST]),
        ("internvl", '[{"bbox_2d": [100, 200, 300, 400], "label": "cat"}]', [FIRST]),
        ("glm-4v", "<|begin_of_box|>[[100,200,300,400]]<|end_of_box|>", [FIRST]),
        ("glm-4v", "<|begin_of_box|>[100,200,300,400]<|end_of_box|>", [FIRST]),
        ("glm-4v", "<|begin_of_box|>[[100,200,300,400],[1,2", [FIRST]),
        (
            "glm-4v",
            "A kite at <|begin_of_box|>[[100,200,300,400]]<|end_of_box|> and a roof at "
            "<|begin_of_box|>[[10,20,30,40]]<|end_of_box|>.",
            [FIRST, SECOND],
        ),
        ("glm-4v", "<think>a</think><answer><|begin_of_box|>[[100,200,300,400]]<|end_of_box|></answer>", [FIRST]),
        ("glm-4v", '<|begin_of_box|>[{"bbox_2d": [100,200,300,400], "label": "a"}]<|end_of_box|>', [FIRST]),
        ("glm-4v", "[[100,200,300,400]]", [FIRST]),
    ],
)  # fmt: skip
def test_every_whole_box_of_a_reply_is_read(
    family: str, text: str, boxes: list[tuple[float, ...]]
) -> None:
    reading = read_boxes(text, load_profile("p2r").with_family(family))
    assert [box.xyxy for box in reading.boxes] == boxes
    assert reading.status == "boxes"


@pytest.mark.parametrize(
    ("family", "text", "status"),
    [
        ("internvl", "[]", "empty"),
        ("internvl", "<box>[]</box>", "empty"),
        ("internvl", "<ref>cat</ref><box>[[1, 2, 3]]</box>", "invalid"),
        ("internvl", "<ref>cat</ref>", "unparsed"),
        ("glm-4v", "<|begin_of_box|>[]<|end_of_box|>", "empty"),
        ("glm-4v", "<|begin_of_box|>a kite<|end_of_box|>", "unparsed"),
        ("glm-4v", "<|begin_of_box|>[[1, 2, 3]]<|end_of_box|>", "invalid"),
    ],
)
def test_a_reply_without_a_box_says_why(family: str, text: str, status: str) -> None:
    assert read_boxes(text, load_profile("p2r").with_family(family)).status == status


@given(st.text(alphabet='[]<>/box|_ref1234, {}"begin_of', max_size=200), st.sampled_from(ALL))
def test_no_text_is_an_exception(text: str, family: Family) -> None:
    read_boxes(text, load_profile("p2r").with_family(family.name), SIZE)
