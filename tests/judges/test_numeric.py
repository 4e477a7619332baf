"""`numeric`: one value in the answer, equal to the right one."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from p2r_bench.judges.number import LONGEST_ANSWER, as_latex, numbers
from p2r_bench.judges.numeric import Numeric
from p2r_bench.types import Prediction, Verdict
from tests.judges.samples import judged, sample


def right(reference: str, answer: str) -> bool | None:
    verdict = judged(Numeric(), sample(reference, "number"), answer)
    assert verdict.status == "ok"
    return verdict.correct


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("12", "12"),
        ("12", "12."),
        ("12", "**12**"),
        ("12", "12 km"),
        ("12", "12km"),
        ("12", "$12.00"),
        ("12", "There are 12 of them."),
        ("12", "It is the 12th."),
        ("12", "12 (twelve)"),
        ("12", "twelve"),
        ("3", "There are three dogs"),
        ("1", "One."),
        ("7", "3 + 4 = 7"),
        ("7", r"2 and 5 make \boxed{7} birds on 3 trees"),
        ("-5", "−5 °C"),
        ("1234567.5", "1,234,567.5"),
        ("0.5", "1/2"),
        ("0.5", r"\frac{1}{2}"),
        ("1.5", "1 1/2"),
        ("-1.5", "-1 1/2"),
        ("1000000", "10^6"),
        ("1500000", "1.5e6"),
        ("1500000", "1.5 × 10^6"),
        ("0.0015", r"1.5 \times 10^{-3}"),
        ("0.333333", "1/3"),
        ("1.414214", r"\sqrt{2}"),
        ("6.283185", "2π"),
        ("50%", "50"),
        ("50%", "0.5"),
        ("0.25", r"25\%"),
        ("12 km", "12"),
        ("５", "5"),
    ],
)
def test_equal_numbers_are_right(reference: str, answer: str) -> None:
    assert right(reference, answer) is True


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("12", "13"),
        ("5", "-5"),
        ("3.14", "3.1416"),
        ("7", "17"),
        ("10", "9^9^9^9"),
        ("1", "10^999"),
    ],
)
def test_other_numbers_are_wrong(reference: str, answer: str) -> None:
    assert right(reference, answer) is False


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "many",
        "B12",
        "3 or 4",
        "3-5",
        "3:45",
        "12/25/2020",
        "between three and four",
        "the red one",
    ],
)
def test_no_number_or_several_are_no_answer(answer: str) -> None:
    verdict = judged(Numeric(), sample("3", "number"), answer)
    assert (verdict.status, verdict.correct, verdict.extracted) == ("ok", False, None)


def test_the_same_number_twice_is_one_answer() -> None:
    assert right("7", "7, so 7.0")


def test_the_extracted_number_and_its_place_are_kept() -> None:
    text = "There are −1,200 of them"
    verdict = judged(Numeric(), sample("-1200", "number"), text)
    assert (verdict.extracted, verdict.correct) == ("-1,200", True)
    assert verdict.span is not None and text[slice(*verdict.span)] == "−1,200"


def test_a_very_long_answer_holds_no_number() -> None:
    assert numbers("x" * LONGEST_ANSWER + "7") == []
    assert numbers("9" * 500) == []


@pytest.mark.parametrize("reference", ["", "several", "3 or 4"])
def test_a_reference_that_is_no_number_is_an_error(reference: str) -> None:
    verdict = judged(Numeric(), sample(reference, "number"), "3")
    assert (verdict.status, verdict.correct) == ("error", None)


def test_it_judges_off_the_main_thread() -> None:
    found: list[Verdict] = []

    def work() -> None:
        prediction = Prediction("s1", answer="1/2")
        found.append(asyncio.run(Numeric().judge(sample("0.5", "number"), prediction)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found[0].correct is True


@given(st.text(alphabet=st.sampled_from("0123456789.,-+/*^%eE×·π\\{}() =≈!x")) | st.text())
def test_any_text_gives_numbers_that_stand_in_it(text: str) -> None:
    for match in numbers(text):
        start, end = match.span
        assert 0 <= start < end <= len(text)


@settings(max_examples=50)
@example("0E0%")
@example("12 %")
@given(st.text(alphabet=st.sampled_from("0123456789.,-/*^%eE×π{} !"), max_size=40))
def test_math_verify_reads_every_number_found(text: str) -> None:
    from math_verify import LatexExtractionConfig, parse

    for match in numbers(text):
        formula = as_latex(match.value)
        assert len(parse(formula, [LatexExtractionConfig()], parsing_timeout=None)) == 2, formula


@settings(max_examples=50)
@given(st.integers(-(10**12), 10**12))
def test_an_integer_equals_itself_with_separators_and_a_unit(value: int) -> None:
    assert right(str(value), f"about {value:,} metres")
