"""Answers are read by the profile's policy, and by nothing else."""

from __future__ import annotations

import re

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
        ("<think><answer>A</answer></think>", None),
        ("<think>x</think><answer>A</answer><think>wait</think><answer>B</answer>", "B"),
        ("<think>maybe <answer>A</answer>, let me check", None),
        ("<think>between <answer> and </answer> tags.</think> B", None),
        ("A? <answer>A</answer></think><answer>B</answer>", "B"),
        ("<think>x</think><Answer>B</ANSWER>", "B"),
        ("<THINK><answer>A</answer></THINK><answer>B</answer>", "B"),
        ("<answer></answer>", None),
        ("<answer> \n </answer>", None),
        ("<answer>A", None),
        ("A</answer>", None),
        ("<ANSWER>A</ANSWER>", "A"),
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
        ("<think>A or B?", None),
        ("A or B?</think>\n\nB", "B"),
        ("</think>B", "B"),
        ("B<think>or A?", "B"),
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


def test_a_template_that_opens_the_thought_leaves_no_answer_in_a_reply_cut_off() -> None:
    opened = P2R.replace(thoughts="opened")
    for role in ROLES:
        assert extract_answer("It is A. <answer>A</answer> No, wait", role, opened) is None
        assert extract_answer("A?</think><answer>B</answer>", role, opened) is not None
    assert extract_answer("A?</think>\nB", "answer", opened) == "B"
    assert extract_answer("<think>A?</think>B", "answer", opened) == "B"


def published_answer(text: str, role: str) -> str | None:
    """The published evaluation, transcribed: the first pair, or in `default` the whole text, and no thought is cut."""
    if role == "answer":
        return text
    match = re.search(r"<answer>(.*?)</answer>", text, re.DOTALL)
    return match.group(1) if match else None


def published_training_answer(text: str, role: str) -> str:
    """The published training: without a pair the whole text is matched."""
    found = published_answer(text, role)
    return text if found is None else found


TAGGED = st.lists(
    st.sampled_from(
        ["<answer>", "</answer>", "<Answer>", "<think>", "</think>", " ", "A", "b", "\n", "<"]
    ),
    max_size=10,
).map("".join)


@given(TAGGED, st.sampled_from(["reason", "think", "answer"]))
def test_the_original_profiles_read_as_the_published_code(text: str, role: str) -> None:
    evaluated = (published_answer(text, role) or "").strip() or None
    assert extract_answer(text, role, load_profile("original-eval")) == evaluated
    trained = published_training_answer(text, role).strip() or None
    for name in ("original-train-rollout", "original-train-service"):
        assert extract_answer(text, role, load_profile(name)) == trained


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
    assert answer is None or (answer and answer == answer.strip())
    assert set(answer or "") <= {*text, "\n"}


@given(TAGGED, st.sampled_from(ROLES), st.sampled_from(["p2r", "tiny"]))
def test_no_answer_comes_out_of_a_thought(text: str, role: str, name: str) -> None:
    profile = load_profile(name)
    answer = extract_answer("outside" + text.replace("A", "X"), role, profile)
    thought = f"<think>{text.replace('</think>', '')}</think>"
    assert extract_answer(f"{thought}outside{text.replace('A', 'X')}", role, profile) == answer
