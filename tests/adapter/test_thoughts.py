"""Thoughts are cut out of replies, however their tags stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.adapter.thoughts import without_thoughts


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("B", "B"),
        ("", ""),
        ("<think>A?</think>B", "B"),
        ("<think>A?", ""),
        ("B<think>A?", "B"),
        ("A?</think>B", "B"),  # the chat template opened the thought
        ("</think>B", "B"),
        ("<think>A?</think>B</think>C", "C"),
        ("<think>a<think>b</think>c</think>d", "d"),
        ("<think>a<think>b</think>c", "c"),
        ("x<think>A?</think>y<think>B?</think>z", "x\ny\nz"),
        ("<think>x</think>", ""),
        ("<think>x</think>B<think>", "B"),
        ("<THINK>A?</Think>B", "B"),
        ("<thinking>A?</thinking>B", "B"),
        ("[THINK]answer is A[/THINK]B", "B"),
        ("◁think▷ A ◁/think▷ B", " B"),
        ("<thought>The answer is A</thought>B", "B"),
        ("<seed:think>A</seed:think>B", "B"),
        ("<|begin_of_thought|>A<|end_of_thought|>B", "B"),
        ("A[/THINK]B[THINK]C", "B"),
        ("[THINKING] a thought <thought >", "[THINKING] a thought <thought >"),
        ("1 < 2 </b> think> <thin>", "1 < 2 </b> think> <thin>"),
        ("<\u212aTHINK>", "<\u212aTHINK>"),
        (" \n<think>A?</think> \n B\n", " \n\n \n B\n"),
    ],
)
def test_what_is_left_when_the_thoughts_are_cut(text: str, rest: str) -> None:
    assert without_thoughts(text) == rest


PARTS = st.lists(
    st.sampled_from(["<think>", "</think>", "<thinking>", "A", "\n", "<", "think>"]), max_size=12
)


@given(PARTS)
def test_cutting_again_changes_nothing(parts: list[str]) -> None:
    rest = without_thoughts("".join(parts))
    assert "<think>" not in rest
    assert "</think>" not in rest
    assert without_thoughts(rest) == rest


@given(st.text())
def test_a_text_without_tags_is_left_alone(text: str) -> None:
    if "think" not in text.casefold() and "thought" not in text.casefold():
        assert without_thoughts(text) == text
