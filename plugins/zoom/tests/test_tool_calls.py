"""Tool calls are read as the Qwen family writes them, and what is wrong with one is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2r_bench_zoom.tool import NAME, Mistake, read_calls

from p2r_bench import Box


def call(name: object = NAME, closed: bool = True, **arguments: Any) -> str:
    text = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{text}\n" + ("</tool_call>" if closed else "")


def mistake(text: str) -> str:
    (found,) = read_calls(text)
    assert isinstance(found, Mistake)
    return found.reason


def test_a_call_gives_its_box() -> None:
    text = f"<think>There is a sign.</think>\n{call(bbox_2d=[10, 20, 30.5, 40], label='sign')}"
    assert read_calls(text) == (Box((10, 20, 30.5, 40), "sign"),)


def test_a_text_without_a_call_has_none() -> None:
    assert read_calls("<think>I see it.</think><answer>B</answer>") == ()


def test_a_missing_closing_tag_is_forgiven() -> None:
    assert read_calls(call(bbox_2d=[1, 2, 3, 4], closed=False)) == (Box((1, 2, 3, 4)),)


def test_several_calls_come_in_order() -> None:
    text = call(bbox_2d=[1, 2, 3, 4]) + call(bbox_2d=[5, 6, 7, 8])
    assert read_calls(text) == (Box((1, 2, 3, 4)), Box((5, 6, 7, 8)))


def test_a_call_that_is_only_thought_of_is_no_call() -> None:
    assert read_calls(f"<think>{call(bbox_2d=[1, 2, 3, 4])}</think><answer>B</answer>") == ()
    assert read_calls(f"<think>Perhaps {call(bbox_2d=[1, 2, 3, 4])}") == ()


def test_an_answer_after_a_call_is_the_answer() -> None:
    made_up = call(bbox_2d=[1, 2, 3, 4]) + "<tool_response>…</tool_response><answer>B</answer>"
    assert read_calls(made_up) == ()


def test_a_call_after_an_answer_is_a_call() -> None:
    assert len(read_calls("<answer>B</answer>" + call(bbox_2d=[1, 2, 3, 4]))) == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<tool_call>zoom in</tool_call>", "not valid JSON"),
        ("<tool_call></tool_call>", "not valid JSON"),
        ("<tool_call>[1]</tool_call>", "not a JSON object"),
        (call(name="crop", bbox_2d=[1, 2, 3, 4]), f"called {NAME}"),
        (f'<tool_call>{{"name": "{NAME}"}}</tool_call>', "arguments is not"),
        (f'<tool_call>{{"name": "{NAME}", "arguments": "x"}}</tool_call>', "arguments is not"),
        (call(), "no bbox_2d"),
        (call(bbox_2d=[1, 2, 3]), "not four numbers"),
        (call(bbox_2d=[1, 2, "3", 4]), "not a number"),
        (call(bbox_2d=[3, 2, 1, 4]), "x1 < x2"),
        (call(bbox_2d=[float("nan"), 2, 3, 4]), "not finite"),
        (f"<tool_call>{'[' * 100_000}</tool_call>", "not valid JSON"),
        ("<tool_call>" + "9" * 5000 + "</tool_call>", "not valid JSON"),
    ],
)
def test_what_is_wrong_with_a_call_is_said(text: str, reason: str) -> None:
    assert reason in mistake(text)


@given(st.text() | st.text(st.sampled_from('<tool_call>/{}[]":,1ename')))
def test_no_text_makes_it_raise(text: str) -> None:
    for wrapped in (text, f"<tool_call>{text}</tool_call>", call(bbox_2d=text)):
        assert all(isinstance(found, (Box, Mistake)) for found in read_calls(wrapped))
