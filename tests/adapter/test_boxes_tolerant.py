"""The default rule: every whole entry counts, wherever it stands; no broken one does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.adapter import TwoStage, load_profile, parse_boxes, read_boxes
from p2r_bench.types import Sample

P2R = load_profile("p2r")
ONE = '{"bbox_2d": [480, 420, 530, 512], "label": "kite"}'
TWO = '{"label": "boat", "bbox_2d": [10, 20, 30, 40]}'
BOTH = ["kite", "boat"]


def labels(text: str) -> list[str | None]:
    return [box.label for box in parse_boxes(text)]


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n[{ONE}, {TWO}]\n```",
        f"```\n[{ONE}, {TWO}]\n```",
        f"```json\r\n[\r\n  {ONE},\r\n  {TWO}\r\n]\r\n```\r\n",
        f"```json\n[{ONE}, {TWO}]",  # the fence never closes
        f"Here they are:\n```json\n[{ONE}]\n```\nand\n```json\n[{TWO}]\n```",
        f"json\n[{ONE}, {TWO}]",
        f"JSON [{ONE}, {TWO}]",
        f'{{"boxes": [{ONE}, {TWO}]}}',
        f'{{"regions": {{"near": [{ONE}], "far": [{TWO}]}}, "count": 2}}',
        f'[{{"object": {ONE}}}, {TWO}]',
        f"[[{ONE}], [{TWO}]]",
        f"{ONE}\n{TWO}",
        f"[{ONE}, {TWO}] These are the regions.",
        f'The 5" sign and the set {{ of }} others: {ONE} and {TWO}.',
        f"[{ONE}, {TWO},]",
        f"[{ONE[:-1]},}}, {TWO}]",
        f"<think>Maybe {TWO}?</think>[{ONE}, {TWO}]",
        f"Maybe {TWO}?</think>[{ONE}, {TWO}]",
        f"<THINK>Maybe {TWO}?</THINK>[{ONE}, {TWO}]",
    ],
)
def test_whole_entries_are_found_in_order(text: str) -> None:
    assert labels(text) == BOTH


PYTHON_ONE, PYTHON_TWO = (str(json.loads(entry)) for entry in (ONE, TWO))


@pytest.mark.parametrize(
    "text",
    [
        f"[{PYTHON_ONE}, {PYTHON_TWO}]",
        f"```python\n[{PYTHON_ONE}, {PYTHON_TWO}]\n```",
        f"The sign's boxes: 'kite' and 'boat'. boxes = [{PYTHON_ONE}, {PYTHON_TWO},]",
        f"{{'boxes': [{PYTHON_ONE}, {PYTHON_TWO}], 'complete': True, 'note': None}}",
        f"Note: 'kite. [{PYTHON_ONE}, {PYTHON_TWO.replace('[', '(').replace(']', ')')}]",
        f"[{PYTHON_ONE}, {TWO}]",
        f"<think>{PYTHON_TWO}</think>{PYTHON_ONE}, {PYTHON_TWO}",
        f"[{PYTHON_ONE}, {PYTHON_TWO}, {{'bbox_2d': [10, 20, 3",
        f"[{PYTHON_ONE}, {PYTHON_TWO}, {{'bbox_2d': [10, 20, 30, 40], 'label': 'ki",
    ],
)
def test_lists_in_python_s_notation_are_read(text: str) -> None:
    assert labels(text) == BOTH
    cut = text[-1] not in "]`}"
    assert read_boxes(text).ignored == (("entry 2: cut off",) if cut else ())


@given(st.text(max_size=12).filter(lambda text: "\\" not in repr(text)))
def test_python_labels_may_hold_any_printable_text(label: str) -> None:
    entries = [{"bbox_2d": [1, 2, 30, 40], "label": label}, json.loads(TWO)]
    assert labels(f"Here: {entries!r}.") == [label, "boat"]


def test_the_published_rule_reads_no_python() -> None:
    published = load_profile("original-eval")
    assert read_boxes(f"[{PYTHON_ONE}]", published).boxes == ()


@pytest.mark.parametrize(
    "rest",
    [
        '{"bbox_2d": [10, 20, 3',
        '{"bbox_2d": [10, 20, 30, 40], "label": "bo',
        '{"bbox_2d": [10, 20, 30, 40], "label": "a \\',
        '{"bbox_2d": [10, 20, 30, 40]',
        '{"bbox_2d": [10, 20, 30, 40], "parts": {"a": 1}',
    ],
)
@pytest.mark.parametrize("start", ["[", '{"boxes": [', "Here:\n```json\n["])
def test_a_cut_off_list_keeps_its_whole_entries_and_says_so(start: str, rest: str) -> None:
    reading = read_boxes(f"{start}{ONE}, {TWO}, {rest}")
    assert [box.label for box in reading.boxes] == BOTH
    assert reading.ignored == ("entry 2: cut off",)


@pytest.mark.parametrize(
    "text",
    [
        '[{"bbox_2d": [480, 420, 5',
        '[{"bbox_2d": [480, 420, 530, 512], "label": "ki',
        "[ \n \n \n",
        '[{ \n "bbox_2d": [ \n \n',
        f"<think>Let me see: {ONE}",
        f"<think>It is [{ONE}]",
        f"[{ONE}]</think>",
    ],
)
def test_a_reply_without_a_whole_entry_is_unparsed_not_empty(text: str) -> None:
    reading = read_boxes(text)
    assert (reading.boxes, reading.status) == ((), "unparsed")


@pytest.mark.parametrize(
    "text",
    [
        "```json\n[]\n```",
        "```\n[ ]```",
        "json []",
        "Nothing is small here: []",
        f"<think>Perhaps {ONE}.</think>[]",
        f"Perhaps {ONE}.</think>\n[]",
        '{"boxes": []}',
    ],
)
def test_an_empty_list_stands(text: str) -> None:
    assert read_boxes(text).status == "empty"


@pytest.mark.parametrize(
    "label",
    [
        "a { on it",
        "a } on it",
        "a [ on ]",
        'the "STOP" sign',
        "two\nlines",
        "tab\there",
        "a, }",
        "\\",
    ],
)
@pytest.mark.parametrize("form", ["[%s]", "Here: %s as asked.", "```json\n[%s, %s]\n```"])
def test_labels_may_hold_any_text(label: str, form: str) -> None:
    escaped = json.dumps({"bbox_2d": [1, 2, 30, 40], "label": label})
    raw = escaped.replace("\\n", "\n").replace("\\t", "\t")
    for entry in (escaped, raw):
        text = form.replace("%s", entry)
        assert labels(text) == [label] * form.count("%s")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ('{"bbox_2d": [0.28, 0.5, 0.52, 0.7]}', "bbox_2d: all corners lie within 0 and 1: fractions, not thousandths"),
        ('{"bbox_2d": [0, 0, 1, 1]}', "bbox_2d: all corners lie within 0 and 1: fractions, not thousandths"),
        ('{"bbox_2d": [533, 132, 457]}', "bbox_2d: not four numbers"),
        ('{"bbox_2d": ["1", "2", "3", "4"]}', "bbox_2d: a corner is not a number"),
        ('{"bbox_2d": [[1, 2, 3, 4]]}', "bbox_2d: not four numbers"),
        ('{"bbox_3d": [0.1, 0.2, 1.2]}', "no bbox_2d"),
        ('{"bbox_2d": [1, 2, 3, 4] "label": "kite"}', "not valid JSON"),
        ('{"bbox_2d": [1, 2, 3, 4], "label": "the "STOP" sign"}', "not valid JSON"),
        ("{\"bbox_2d\": [1, 2, 3, 4], 'label': 'kite'}", "not valid JSON"),
        ('{"bbox_2d": [1, 2, 3px, 4]}', "not valid JSON"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["[%s]", "```json\n[%s]\n```", "Here: [%s]."])
def test_an_entry_that_is_no_box_is_left_out_with_the_reason(
    entry: str, reason: str, form: str
) -> None:
    reading = read_boxes(form % entry)
    assert (reading.boxes, reading.status) == ((), "invalid")
    assert reading.ignored == (f"entry 0: {reason}",)
    assert labels(form % f"{entry}, {ONE}") == ["kite"]
    assert labels(form % f"{ONE}, {entry}") == ["kite"]


def test_one_corner_beyond_1_makes_thousandths() -> None:
    assert len(parse_boxes('{"bbox_2d": [0, 0, 1, 2]}')) == 1


def test_a_label_whose_quote_never_closes_costs_its_own_entry_only() -> None:
    assert labels(f'[{{"bbox_2d": [1, 2, 3, 4], "label": "kite}}, {TWO}]') == ["boat"]


def test_nothing_is_read_from_an_entry_inside_an_entry() -> None:
    assert labels(f'[{{"bbox_2d": [1, 2, 3, 4], "label": "kite", "parts": [{TWO}]}}]') == ["kite"]


def test_thousands_of_broken_entries_do_not_hide_what_stands_before() -> None:
    assert labels(f"[{ONE}, {', '.join(['{' + TWO] * 3000)}")[0] == "kite"


def test_a_profile_may_say_that_the_template_opens_the_thought() -> None:
    opened = P2R.replace(thoughts="opened")
    assert parse_boxes(f"Perhaps {ONE}", opened) == ()
    assert parse_boxes(f"Perhaps {TWO}</think>[{ONE}]", opened) == parse_boxes(ONE)
    kept = P2R.replace(thoughts="keep")
    assert len(parse_boxes(f"<think>{TWO}</think>{ONE}", kept)) == 2


_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
_LABEL = _TEXT | st.sampled_from(['"', "{", "}", "]", "\\", ",}", "[]", "bbox_2d", "```"])
_BOX = st.tuples(*[st.integers(0, 499)] * 2, *[st.integers(500, 1000)] * 2).map(list)
_ENTRY = st.fixed_dictionaries({"bbox_2d": _BOX, "label": _LABEL})


def _tags_aside(entries: list[dict[str, Any]]) -> bool:
    return "think" not in json.dumps(entries, ensure_ascii=False).casefold()


@given(st.lists(_ENTRY, min_size=1, max_size=4).filter(_tags_aside), st.booleans(), st.data())
def test_a_list_cut_anywhere_keeps_exactly_its_whole_entries(
    entries: list[dict[str, Any]], ascii_only: bool, data: st.DataObject
) -> None:
    parts = [json.dumps(entry, ensure_ascii=ascii_only) for entry in entries]
    text = f"[{', '.join(parts)}]"
    cut = data.draw(st.integers(0, len(text)))
    ends = [1 + sum(len(part) + 2 for part in parts[: i + 1]) - 2 for i in range(len(parts))]
    whole = [entry["label"] for entry, end in zip(entries, ends, strict=True) if end <= cut]
    assert labels(text[:cut]) == whole
    assert labels(f"Here:\n```json\n{text}\n```") == [entry["label"] for entry in entries]


_NUMBER = st.integers(-2000, 3000) | st.floats(-2000, 3000, allow_nan=False)
_ANY_ENTRY = st.fixed_dictionaries({"bbox_2d": st.lists(_NUMBER, min_size=4, max_size=4)})
_SIDE = st.integers(1, 9000)


@given(st.lists(_ANY_ENTRY | _ENTRY, max_size=5), st.tuples(_SIDE, _SIDE))
def test_no_crop_lies_outside_the_image(entries: list[Any], size: tuple[int, int]) -> None:
    from p2r_bench.adapter import crop_rect

    for box in parse_boxes(f"Look: {json.dumps(entries)}"):
        rect = crop_rect(box, size, P2R)
        if rect is not None:
            left, top, right, bottom = rect
            assert 0 <= left < right <= size[0]
            assert 0 <= top < bottom <= size[1]


def test_evidence_is_read_by_the_profile(make_sample: Any) -> None:
    sample: Sample = make_sample()
    text = f"<think>{TWO}</think>[]"
    assert TwoStage(P2R).evidence(sample, text).parse_status == "empty"
    assert TwoStage(load_profile("original-eval")).evidence(sample, text).parse_status == "boxes"
