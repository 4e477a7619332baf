"""Reading boxes out of a perceiver's text: rules of every profile, those of the published code, and any text whatever."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2r_bench.adapter import Profile, check_boxes, load_profile, parse_boxes, read_boxes
from p2r_bench.types import Box

P2R, PUBLISHED = load_profile("p2r"), load_profile("original-eval")

ONE = '{"bbox_2d": [10, 20, 30, 40], "label": "kite"}'
TWO = '{"bbox_2d": [1.5, 2, 3, 4.25], "label": "boat"}'


def test_list_of_objects_gives_boxes_in_order() -> None:
    assert parse_boxes(f"[{ONE}, {TWO}]") == (
        Box((10, 20, 30, 40), "kite"),
        Box((1.5, 2, 3, 4.25), "boat"),
    )


def test_single_object_is_a_list_of_one() -> None:
    assert parse_boxes(ONE) == (Box((10, 20, 30, 40), "kite"),)


def test_white_space_around_the_json_does_not_matter() -> None:
    assert parse_boxes(f"\n\t [{ONE}] \n") == parse_boxes(f"[{ONE}]")


@pytest.mark.parametrize(
    "text",
    [
        f"[[{ONE}]]",
        f'{{"boxes": [{ONE}]}}',
        f'[{{"object": {ONE}}}]',
        '{"bbox_2d": [[1, 2, 3, 4]], "label": "kite"}',
        json.dumps(f"[{ONE}]"),
    ],
)
def test_the_published_rule_finds_no_boxes_in_json_nested_deeper(text: str) -> None:
    assert parse_boxes(text, PUBLISHED) == ()
    assert read_boxes(text, PUBLISHED).status == "invalid"


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n[{ONE}, {TWO}]\n```",
        f"The regions are {ONE} and {TWO}.",
        f"[{ONE}, {TWO}",  # cut off
        f'{{"regions": [{ONE}, {TWO}',
        f"[{ONE}, {{'bbox_2d': broken}}, {TWO}] and so on",
    ],
)
@pytest.mark.parametrize("profile", [P2R, PUBLISHED], ids=["tolerant", "published"])
def test_other_text_is_searched_for_objects(text: str, profile: Profile) -> None:
    assert [box.label for box in parse_boxes(text, profile)] == ["kite", "boat"]


def test_the_published_rule_does_not_look_at_flat_objects_without_bbox_2d() -> None:
    reading = read_boxes(f'so: {{"box": [1, 2, 3, 4]}} {ONE}', PUBLISHED)
    assert len(reading.boxes) == 1
    assert reading.ignored == ()


@pytest.mark.parametrize(
    ("text", "boxes", "status"),
    [
        (f"<think>{ONE}</think>[]", 1, "boxes"),
        (f"<think>{ONE}", 1, "boxes"),
        ("```json\n[]\n```", 0, "unparsed"),
        ('{"bbox_2d": [0.28, 0.5, 0.52, 0.7], "label": "cup"}', 1, "boxes"),
        ('Here: {"bbox_2d": [1, 2, 3, 4], "label": "a { on it"}', 0, "unparsed"),
        ('Here: {"bbox_2d": [1, 2, 3, 4], "label": "a } on it"}', 0, "invalid"),
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "two\nlines"}]', 0, "invalid"),
        (f'Here: {{"label": {{"a": 1}}, {ONE[1:]}', 0, "unparsed"),
        (f"[{ONE},]", 1, "boxes"),
    ],
)
def test_the_published_rule_is_kept_to_the_letter(text: str, boxes: int, status: str) -> None:
    for name in ("original-eval", "original-train-rollout", "original-train-service"):
        reading = read_boxes(text, load_profile(name))
        assert (len(reading.boxes), reading.status) == (boxes, status)


@pytest.mark.parametrize(
    "corners", ["[1,2,3]", "[1,2,3,4,5]", "[]", "{}", '"1,2,3,4"', "null", "7"]
)
def test_a_box_has_exactly_four_corners(corners: str) -> None:
    reading = read_boxes(f'[{{"bbox_2d": {corners}}}, {ONE}]')
    assert [box.label for box in reading.boxes] == ["kite"]
    assert len(reading.ignored) == 1
    assert reading.ignored[0].startswith("entry 0: bbox_2d")


@pytest.mark.parametrize(
    "corner",
    ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "null", '"5"', "[5]", "{}", "9" * 400],
)
def test_corners_where_the_published_code_raises_or_refuses_are_ignored(corner: str) -> None:
    assert parse_boxes(f'[{{"bbox_2d": [0, 0, 9, {corner}]}}, {ONE}]') == parse_boxes(ONE)


def test_booleans_pass_as_numbers() -> None:
    text = '{"bbox_2d": [false, false, true, 5]}'
    assert parse_boxes(text) == parse_boxes(text, PUBLISHED) == (Box((0, 0, 1, 5)),)


@pytest.mark.parametrize("corners", [[5, 0, 5, 9], [0, 5, 9, 5], [9, 0, 5, 9], [0, 9, 9, 5]])
def test_corners_must_be_in_order(corners: list[int]) -> None:
    assert parse_boxes(json.dumps({"bbox_2d": corners})) == ()


def test_the_range_is_not_checked() -> None:
    assert parse_boxes('{"bbox_2d": [-5000, -1e300, 5000, 1e300]}')[0].xyxy == (
        -5000,
        -1e300,
        5000,
        1e300,
    )


@pytest.mark.parametrize("label", ["null", "7", '["kite"]', '{"a": 1}'])
def test_a_label_that_is_not_text_does_not_cost_the_box(label: str) -> None:
    text = f'[{{"bbox_2d": [1, 2, 3, 4], "label": {label}}}]'
    assert parse_boxes(text) == (Box((1, 2, 3, 4)),)


def test_a_missing_label_does_not_cost_the_box() -> None:
    assert parse_boxes('{"bbox_2d": [1, 2, 3, 4]}') == (Box((1, 2, 3, 4)),)


def test_a_lone_surrogate_in_a_label_can_be_written_to_a_file() -> None:
    (box,) = parse_boxes(r'{"bbox_2d": [1, 2, 3, 4], "label": "a\ud800b"}')
    assert box.label == "a\ufffdb"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (f"[{ONE}]", "boxes"),
        (f'[{ONE}, {{"bbox_2d": null}}]', "boxes"),
        ("[]", "empty"),
        (" [ ] ", "empty"),
        ("null", "invalid"),
        ("{}", "invalid"),
        ("[1, 2]", "invalid"),
        ('sure: {"bbox_2d": [1]}', "invalid"),
        ('sure: {"bbox_2d": [1, 2,}', "invalid"),
        ("", "unparsed"),
        ("the kite is top left", "unparsed"),
        ("[" * 100_000, "unparsed"),
        ("7" * 5000, "invalid"),
    ],
)
def test_the_parse_status_tells_no_boxes_from_no_json(text: str, status: str) -> None:
    assert read_boxes(text).status == status


def test_thousands_of_entries_keep_the_boxes_and_a_few_reasons() -> None:
    reading = read_boxes("[" + ", ".join([ONE, "{}"] * 5000) + "]")
    assert len(reading.boxes) == 5000
    assert len(reading.ignored) == 20


def test_boxes_from_elsewhere_are_held_to_the_same_rules() -> None:
    good = Box((1, 2, 3, 4), "kite")
    bad = [
        Box((math.nan, 0, 9, 9)),
        Box((9, 0, 1, 9)),
        Box((0, 0, 10**400, 9)),
        Box((0, 0, math.inf, 9)),
    ]
    assert check_boxes([bad[0], good, *bad[1:]]).boxes == (good,)
    assert check_boxes(bad).status == "invalid"
    assert check_boxes([]).status == "empty"


_WILD_NUMBER = st.one_of(
    st.floats(),
    st.integers(-2000, 3000),
    st.integers(-(10**350), 10**350),
    st.booleans(),
)
_WILD_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
_WILD = st.recursive(
    st.one_of(st.none(), _WILD_NUMBER, _WILD_TEXT),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["bbox_2d", "label", "x"]), inner, max_size=3),
    ),
    max_leaves=5,
)
_ENTRY = st.fixed_dictionaries(
    {"bbox_2d": st.one_of(st.lists(_WILD_NUMBER, min_size=4, max_size=4), _WILD)},
    optional={"label": _WILD},
)
_JSON = st.one_of(st.lists(_ENTRY, max_size=3), _ENTRY, _WILD).map(json.dumps)
_FRAGMENTS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "{",
                "}",
                "[",
                "]",
                ",",
                ":",
                '"bbox_2d"',
                '"label"',
                "NaN",
                "1e400",
                "null",
                "7",
                "\\ud800",
            ]
        ),
        _WILD_TEXT,
        _JSON,
    ),
    max_size=8,
).map("".join)


@given(st.one_of(_JSON, _FRAGMENTS), st.sampled_from([P2R, PUBLISHED]))
@example("{" * 50_000 + '"bbox_2d"', P2R)
@example('{"bbox_2d":' * 20_000, P2R)
@example('{"bbox_2d":' * 20_000, PUBLISHED)
def test_any_text_gives_finite_ordered_boxes(text: str, profile: Profile) -> None:
    reading = read_boxes(text, profile)
    for box in reading.boxes:
        assert all(type(corner) is float and math.isfinite(corner) for corner in box.xyxy)
        assert box.xyxy[0] < box.xyxy[2]
        assert box.xyxy[1] < box.xyxy[3]
        assert box.label is None or box.label.encode() is not None
    assert (reading.status == "boxes") == bool(reading.boxes)


@given(st.lists(_ENTRY, max_size=3))
@settings(max_examples=50)
def test_a_json_list_and_the_same_list_inside_prose_give_the_same_boxes_when_flat(
    entries: list[dict[str, object]],
) -> None:
    flat = [e for e in entries if "{" not in json.dumps(e)[1:] and "}" not in json.dumps(e)[:-1]]
    text = json.dumps(flat)
    assert parse_boxes("Here: " + text) == parse_boxes(text)
