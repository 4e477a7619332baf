"""Options are read from whatever form a file has them in, or refused."""

from __future__ import annotations

from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.errors import UserError
from p2r_bench.tasks.fields import Row
from p2r_bench.tasks.options import Options, read_options, split_marked

LABELS = ("({}) ", "({})", "{}. ", "{}) ", "{}: ", "（{}）", "[{}] ", "  ({}) ")
TEXTS = st.lists(
    st.text("xyz 0\r\n", min_size=1).map(str.strip).filter(bool), min_size=2, max_size=9
)


def read(value: Any, answer: str = "A") -> Options:
    return read_options(
        Row(Path("file"), 3, {"options": value, "answer": answer}), "options", "answer"
    )


@given(TEXTS, st.sampled_from(LABELS))
def test_letters_never_become_text(texts: list[str], label: str) -> None:
    stored = [
        label.format(letter) + text for letter, text in zip(ascii_uppercase, texts, strict=False)
    ]
    found = read(stored)
    assert found.texts == dict(zip(ascii_uppercase, texts, strict=False))
    assert found.stored == tuple(stored) and not found.repeated


@given(TEXTS)
def test_options_without_letters_have_those_of_their_places(texts: list[str]) -> None:
    assert read(texts).texts == dict(zip(ascii_uppercase, texts, strict=False))


@given(st.lists(st.one_of(st.text(), st.integers(), st.none()), max_size=8) | st.text())
def test_any_value_is_read_or_refused_with_file_row_and_field(value: Any) -> None:
    try:
        found = read(value)
    except UserError as error:
        assert str(error).startswith("file, row 3, options: ")
    else:
        assert len(found.texts) >= 2 and set(found.texts) <= set(ascii_uppercase)


def test_a_repeated_letter_stands_for_all_options_that_carry_it() -> None:
    stored = ["(A) left", "(B) right", "(C) both", "(D) none", "(D) neither", "(E) other"]
    found = read(stored, "E")
    assert found.repeated == ("D",)
    assert found.texts == {
        "A": "left", "B": "right", "C": "both", "D": "none / neither", "E": "other"
    }  # fmt: skip
    assert found.stored == tuple(stored)


def test_the_answer_decides_whether_a_string_without_a_letter_is_an_option() -> None:
    stored = ["(A) 1", "(B) 2", "3"]
    assert read(stored, "B").texts == {"A": "1", "B": "2\n3"}
    assert read(stored, "(c)").texts == {"A": "1", "B": "2", "C": "3"}


@pytest.mark.parametrize(
    "text",
    [
        '["(A) 1", "(B) 2.5"]',
        "['(A) 1', '(B) 2.5']",
        "[1, 2.5]",
    ],
)
def test_a_list_written_as_text_is_a_list(text: str) -> None:
    found = read(text)
    assert found.texts == {"A": "1", "B": "2.5"}
    assert len(found.stored) == 2


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("A. left\nB. right", ("left", "right")),
        (" A. left \n B.right \r\n\n", ("left", "right")),
        ("A left\nB right\nC both", ("left", "right", "both")),
        ("(A) left\nor so\n(B) right\nor so", ("left\nor so", "right\nor so")),
        ("A. left\nB. right\nor so", ("left", "right\nor so")),
        ("left\nright", ("left", "right")),
        ("A.M.\nnoon\nP.M.", ("A.M.", "noon", "P.M.")),
    ],
)  # fmt: skip
def test_a_text_has_an_option_per_line(text: str, texts: tuple[str, ...]) -> None:
    found = read(text)
    assert tuple(found.texts.values()) == texts
    assert found.stored == (text,)


def test_numbers_are_options() -> None:
    assert read([1, 2.0, 2.5, True]).texts == {"A": "1", "B": "2", "C": "2.5", "D": "True"}
    for value in (["1", float("nan")], ["1", ["2"]], ["1", b"2"]):
        with pytest.raises(UserError, match="where an option's text should be"):
            read(value)


@pytest.mark.parametrize(
    ("text", "question", "options"),
    [
        ("Which? (A) one (B) two", "Which?", {"A": "one", "B": "two"}),
        ("Which?\n(A) one\nmore\n(B) two", "Which?", {"A": "one\nmore", "B": "two"}),
        ("Is sign (A) red?\n(A) yes\n(B) no", "Is sign (A) red?", {"A": "yes", "B": "no"}),
        ("Which?（Ａ）one（Ｂ）two", "Which?", {"A": "one", "B": "two"}),
    ],
)
def test_question_and_options_are_told_apart(
    text: str, question: str, options: dict[str, str]
) -> None:
    assert split_marked(text) == (question, options)


@pytest.mark.parametrize("text", ["", "Which?", "(A) one", "Which? (A) one (C) two", "(B) (C)"])
def test_a_text_without_options_is_not_split(text: str) -> None:
    assert split_marked(text) is None


def test_initials_are_no_labels() -> None:
    stored = ["A.M.", "B.C.", "C. elegans", "D. melanogaster"]
    assert read(stored, "C").texts == dict(zip("ABCD", stored, strict=True))


def test_labels_of_look_alikes_and_after_zero_width_characters_are_labels() -> None:
    texts = {"A": "one", "B": "two", "C": "three", "D": "four"}
    assert read(["(А) one", "(В) two", "(С) three", "(D) four"]).texts == texts
    assert read(["\u200b(A) one", "(B) two", "\ufeff(C) three", "(D) four"]).texts == texts


@pytest.mark.parametrize(
    "labels", ["(А) (Б) (В)", "(А) (Б) (C)", "(Α) (Β) (Γ)", "（А） （Б） （В）", "(А) (В) (С)"]
)
def test_foreign_labels_are_no_part_of_the_text(labels: str) -> None:
    stored = [
        f"{label} {text}"
        for label, text in zip(labels.split(), ("one", "two", "three"), strict=True)
    ]
    options = read(stored)
    assert options.texts == {"A": "one", "B": "two", "C": "three"}
    assert options.stored == tuple(stored)


def test_latin_labels_among_foreign_ones_must_be_in_their_place() -> None:
    with pytest.raises(UserError, match="are neither in order nor those of the positions"):
        read(["(А) one", "(Б) two", "(A) three"])
