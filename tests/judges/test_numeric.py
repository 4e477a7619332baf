"""`numeric`: one value in the answer, equal to the right one."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.judges.number import LONGEST_ANSWER, read_number
from p2r_bench.judges.numeric import Numeric
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
        ("12", "$12.00"),
        ("12", "`12`"),
        ("12", "There are 12 of them."),
        ("12", "It is the 12th."),
        ("12", "12 (twelve)"),
        ("12", "twelve"),
        ("3", "There are three dogs"),
        ("1", "One."),
        ("21", "twenty-one"),
        ("200", "two hundred"),
        ("2010", "two thousand and ten"),
        ("1500", "one thousand five hundred"),
        ("100", "a hundred"),
        ("7", "3 + 4 = 7"),
        ("7", r"2 and 5 make \boxed{7} birds on 3 trees"),
        ("60", "There are 12 rows of 5. Answer: 60"),
        ("12", "The answer is 12 because there are 3 rows of 4."),
        ("73", "✅ Final Answer: **73**"),
        ("73", "<think>70 or 71?</think>73"),
        ("5", "答案是5"),
        ("３", "有3个"),
        ("-5", "−5 °C"),
        *(("-3", "minus 3"), ("-3", "–3"), ("-3", "It is –3 °C"), ("-0.5", "—.5")),
        *(
            ("3", "3, I think"),
            ("3", "3, because three are red"),
            ("3", "3. I can see three dogs."),
        ),
        *(
            ("3", "3. The picture shows three."),
            ("3", "3, as shown"),
            ("3", "There are 3 dogs, all red."),
        ),
        *(("3", "3 is correct"), ("3", "How many? 3"), ("3", "3 milk cartons"), ("3", "3 bins")),
        *(("3", "3 people are not wearing hats"), ("3", "There are 3 dogs that are not brown")),
        *(("3", "Not all are visible, but 3"), ("300", "300 K"), ("3", "3 millimetres")),
        ("-3", "negative three"),
        ("1234567.5", "1,234,567.5"),
        ("0.5", "1/2"),
        ("0.5", r"\frac{1}{2}"),
        ("0.5", r"\frac12"),
        ("0.5", "½"),
        ("2.5", "2½"),
        ("1.5", "1 1/2"),
        ("-1.5", "-1 1/2"),
        ("1000000", "10^6"),
        ("1000000", "10⁶"),
        ("8", "2**3"),
        ("1500000", "1.5e6"),
        ("1500000", "1.5 × 10^6"),
        ("0.0015", r"1.5 \times 10^{-3}"),
        ("0.0000002", "2e-7"),
        ("0.3", "0.30000000000000004"),
        ("0.333333", "1/3"),
        ("1.414214", r"\sqrt{2}"),
        ("1.414214", "√2"),
        ("6.283185", "2π"),
        ("50%", "50"),
        ("50%", "0.5"),
        ("50%", "50 percent"),
        ("2", "2%"),
        ("0.25", r"25\%"),
        ("2500000", "2.5 million"),
        ("3000", "3k"),
        ("30000", "3万"),
    ],
)
def test_equal_numbers_are_right(reference: str, answer: str) -> None:
    assert right(reference, answer) is True


@pytest.mark.parametrize("unit", ["km", " km", " m^2", " cm²", " m2", "°", " dogs", " m/s", " USD"])
def test_a_unit_does_not_matter(unit: str) -> None:
    assert right("73", f"73{unit}") is True
    assert right(f"73{unit}", "73") is True


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("12", "13"),
        ("5", "-5"),
        ("3", "minus 3"),
        ("2", "two hundred"),
        ("20", "twenty-one"),
        ("3.14", "3.1416"),
        ("7", "17"),
        ("1", "10^999"),
        ("2.5", "2.5 million"),
        ("3", "3k"),
        ("1234567", "1234568"),
        ("0.0000001", "0.0000002"),
        ("1e-7", "2e-7"),
        *(("1e-6", "9.99999999e-7"), ("-3", "3"), ("3", "–3")),
        ("0.0000001", "2e-7"),
        ("0", "0.00000049"),
        ("28%", "0.5"),
    ],
)
def test_other_numbers_are_wrong(reference: str, answer: str) -> None:
    verdict = judged(Numeric(), sample(reference, "number"), answer)
    assert (verdict.correct, verdict.extracted is None) == (False, False)


UNREADABLE = [
    "",
    "many",
    "B12",
    "F-16",
    "3 or 4",
    "3-5",
    "3–5",
    "3 to 5",
    "3:45",
    "12/25/2020",
    "between three and four",
    "two three",
    "nineteen eighty-four",
    "the red one",
    "1.234.567",
    "1.000,50",
    "1,1",
    "1 000 000",
    "5M",
    "1.2B",
    "3+",
    ">3",
    "not 3",
    *(
        "3 Dutzend",
        "3 score",
        "3 gross",
        "three score",
        "3 douzaines",
        "3 ダース",
        "3打",
        "3 дюжины",
    ),
    *(
        "3 zillion",
        "3 kilo",
        "three fifths",
        "3 hundredths",
        "3 squared",
        "3 plus",
        "3ish",
        "3 or so",
    ),
    *(
        "3, I doubt it",
        "3: nah",
        "3 - I rule it out",
        "3. Nah.",
        "3, cannot be",
        "3 dogs, I doubt it",
    ),
    *("There are 3, I doubt it.", "3 (I doubt it)", "nearly 3", "under 3", r"\frac{3"),
    *("isn't 3", "never 3", "It is not exactly 3", "I don't think the answer is 3", "if it were 3"),
    *("3 is wrong", "3 dogs is not right", "3 can be ruled out", "3: incorrect", "3, no.", "不是3"),
    *("3?", "Is it 3 dogs?", "Answer: 3?", "3吗", "Answer: 3 is wrong", "Answer: 3, no"),
    *("3 bn", "3bn", "3 mio", "3 Mio.", "3 Mrd", "3 Millionen", "3 millones", "3 milhões", "3 млн"),
    *(
        "3 lakh",
        "3 crore",
        "3천",
        "3조",
        "3千万",
        "3 thousand million",
        "three lakh",
        "3 mil",
        "3 k",
    ),
    "more than 3",
    "at least 3",
    "2 and a half",
    "half",
    "a dozen",
    "1/0",
    "9^9^9^9",
    "3 m 20 cm",
    "The answer is 3 or 4",
    r"\boxed{3, 4}",
    "<think>so it is 3",
]


@pytest.mark.parametrize("answer", UNREADABLE)
def test_a_doubtful_number_is_no_answer_and_no_reference(answer: str) -> None:
    verdict = judged(Numeric(), sample("3", "number"), answer)
    assert (verdict.status, verdict.correct, verdict.extracted) == ("ok", False, None)
    verdict = judged(Numeric(), sample(answer, "number"), "3")
    assert (verdict.status, verdict.correct) == ("error", None)
    assert verdict.error is not None and repr(answer) in verdict.error.message


def test_the_same_number_twice_is_one_answer() -> None:
    assert right("7", "7, so 7.0")
    assert right("3", "3 cats, 3 dogs")


def test_the_extracted_number_and_its_place_are_kept() -> None:
    text = "There are −1,200 of them"
    verdict = judged(Numeric(), sample("-1200", "number"), text)
    assert (verdict.extracted, verdict.correct) == ("-1,200", True)
    assert verdict.span is not None and text[slice(*verdict.span)] == "−1,200"


def test_a_long_answer_has_to_declare_its_number() -> None:
    story = "x " * LONGEST_ANSWER
    assert read_number(f"{story} 7") is None
    declared = read_number(f"{story}\nAnswer: 7")
    assert declared is not None and declared.value == 7
    assert declared.match.span == (len(story) + 9, len(story) + 10)
    assert read_number("9" * 500) is None


@given(st.text(alphabet=st.sampled_from("0123456789.,-+/*^%eE×·π√\\{}() =≈!xk½²")) | st.text())
def test_a_number_stands_in_the_text(text: str) -> None:
    number = read_number(text)
    if number is not None:
        start, end = number.match.span
        assert 0 <= start < end <= len(text)


@given(st.integers(-(10**12), 10**12))
def test_an_integer_equals_itself_with_separators_and_a_unit(value: int) -> None:
    number = read_number(f"about {value:,} metres")
    assert number is not None and number.value == value


@given(st.decimals(min_value="0.001", max_value=10**6, places=6))
def test_a_decimal_is_read_exactly(value: object) -> None:
    number = read_number(str(value))
    assert number is not None and number.value == Fraction(str(value))


@given(st.integers(1, 999_999), st.integers(1, 9))
def test_the_last_digit_counts_at_any_scale(digits: int, more: int) -> None:
    for exponent in (-12, -7, 0, 7):
        one, other = (read_number(f"{d}e{exponent}") for d in (digits, digits + more))
        assert one is not None and other is not None and not one.equals(other)


def test_words_make_the_numbers_they_say() -> None:
    for text, value in [
        ("ninety-nine", 99),
        ("one hundred and five", 105),
        ("two hundred thousand", 200_000),
        ("three million, two hundred thousand and one", 3_200_001),
    ]:
        number = read_number(text)
        assert number is not None and number.value == value
