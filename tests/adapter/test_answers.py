"""Answers are read by the profile's policy, and by nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.adapter import builtin_profiles, extract_answer, load_profile
from p2r_bench.types import ROLES

P2R = load_profile("p2r")
TRAIN = load_profile("original-train-service")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>a kite</think><answer>B</answer>", "B"),
        ("<answer>\n B \n</answer>", "B"),
        ("<answer>A</answer> no, <answer>B</answer>", "B"),
        ("<answer>A</answer> and <answer>B", "A"),  # the last complete pair
        ("<answer>A <answer>B</answer>", "B"),
        ("<answer>two\nlines</answer>", "two\nlines"),
        ("<think><answer>A</answer></think>", "A"),
        ("<answer></answer>", None),
        ("<answer> \n </answer>", None),
        ("<answer>A", None),
        ("A</answer>", None),
        ("<ANSWER>A</ANSWER>", None),
        ("Based on the image I cannot tell", None),
        ("B", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("role", ["reason", "think"])
def test_reasoning_is_answered_between_tags_or_not_at_all(
    text: str, answer: str | None, role: str
) -> None:
    assert extract_answer(text, role, P2R) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (" B. blue \n", "B. blue"),
        ("<think>A or B?</think>\nB", "B"),
        ("<think>A or B?", "<think>A or B?"),
        ("<answer>B</answer>", "<answer>B</answer>"),
        ("<think>A</think>", None),
        ("  ", None),
    ],
)
def test_the_bare_answer_is_the_whole_text(text: str, answer: str | None) -> None:
    assert extract_answer(text, "answer", P2R) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>A</think><answer>B</answer>", "B"),
        ("Based on the image I cannot tell", "Based on the image I cannot tell"),
        ("<think>A</think> it is B", "<think>A</think> it is B"),
        ("<answer></answer> B", None),
        ("", None),
    ],
)
def test_the_published_training_path_matches_the_whole_text_without_a_tag(
    text: str, answer: str | None
) -> None:
    assert extract_answer(text, "reason", TRAIN) == answer


def test_roles_of_other_modes_are_read_like_the_reasoner() -> None:
    assert extract_answer("<answer>B</answer>", "verify", P2R) == "B"
    assert extract_answer("B", "verify", P2R) is None


@given(
    st.lists(
        st.sampled_from(["<answer>", "</answer>", "<think>", "</think>", " ", "A", "\n", "<"]),
        max_size=9,
    ),
    st.sampled_from(ROLES),
    st.sampled_from(builtin_profiles()),
)
def test_any_text_gives_a_stripped_answer_found_in_it_or_none(
    parts: list[str], role: str, name: str
) -> None:
    text = "".join(parts)
    answer = extract_answer(text, role, load_profile(name))
    assert answer is None or (answer and answer == answer.strip() and answer in text)
