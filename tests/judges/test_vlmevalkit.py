"""The scorer `vlmevalkit`: its rules, row by row, and no letter by chance."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.judges.vlmevalkit import VLMEvalKit, kit_option
from p2r_bench.testing import tiny_sample
from p2r_bench.types import Prediction

OPTIONS = {"A": "red", "B": "blue", "C": "green", "D": "dark grey"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("B", "B"),
        ("(B).", "B"),
        ("The answer is B", "B"),
        ("Answer: C. On the wall", "C"),
        ("Answer: C. It stands on the wall over there", None),
        ("B is what I see here today", None),
        ("A", "A"),
        ("Answer: A", "A"),
        ("I think it is A", None),
        ("B or C", None),
        ("b", None),
        ("the blue one", "blue"),
        ("it is Dark Grey", "Dark Grey"),
        ("blue or red", None),
        ("blue " * 30, None),
        ("I cannot tell", None),
        ("", None),
    ],
)
def test_rules(text: str, found: str | None) -> None:
    match = kit_option(text, OPTIONS)
    assert (match and match.value) == found
    if match is not None:
        assert text[slice(*match.span)] == match.value


@given(st.text(max_size=60))
def test_any_text_has_at_most_one_option_and_its_place(text: str) -> None:
    match = kit_option(text, OPTIONS)
    if match is not None:
        assert text[slice(*match.span)] == match.value
        assert match.value in OPTIONS or match.value.lower() in OPTIONS.values()
    assert match == kit_option(text, OPTIONS)


@pytest.mark.parametrize(
    ("answer", "correct"),
    [("B", True), ("green", True), ("A", False), ("hm", False), (None, False)],
)
def test_verdicts(answer: str | None, correct: bool) -> None:
    sample = tiny_sample()
    verdict = asyncio.run(VLMEvalKit().judge(sample, Prediction(sample.id, answer=answer)))
    assert (verdict.status, verdict.correct) == ("ok", correct)
    assert (verdict.extracted is None) == (answer in ("hm", None))
