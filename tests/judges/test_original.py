"""`original`: the published letter rule, rule by rule."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.judges.original import Original
from p2r_bench.judges.published import STOCK_PREFIXES, original_letter, published_letters
from tests.judges.samples import judged, sample


def letter(text: str, letters: str = "ABCD") -> str | None:
    match = original_letter(text, letters)
    return match.value if match else None


def test_white_space_around_the_answer_is_ignored() -> None:
    assert letter(" \n B \t") == "B"


def test_the_first_letter_of_the_set_counts() -> None:
    assert letter("B or A") == "B"


def test_a_letter_inside_a_word_counts() -> None:
    assert letter("xCx") == "C"
    assert letter("Based on the image I cannot tell") == "B"


def test_a_lower_case_letter_does_not_count() -> None:
    assert letter("b") is None
    assert letter("the car") is None


def test_the_prefixes_and_their_order() -> None:
    assert STOCK_PREFIXES == (
        "The best answer is",
        "The correct answer is",
        "The answer is",
        "The answer",
        "The best option is",
        "The correct option is",
        "Best answer:",
        "Best option:",
        "Answer:",
        "Option:",
        "The correct answer",
        "The correct option",
    )


@pytest.mark.parametrize("prefix", STOCK_PREFIXES)
def test_stock_prefixes_are_removed(prefix: str) -> None:
    assert letter(f"{prefix} C") == "C"


def test_stock_prefixes_are_removed_wherever_they_stand() -> None:
    assert letter("so, Answer: C, I mean Answer: C") == "C"


def test_stock_prefixes_are_case_sensitive() -> None:
    assert letter("ANSWER: C") == "A"
    assert letter("Final Answer: C") == "C"
    assert letter("The Answer is C") == "A"


def test_stock_prefixes_are_removed_in_order() -> None:
    # "The answer" goes before "Answer:" could be seen, and leaves the colon.
    assert letter("The answer: C") == "C"
    # Removing "The answer" joins "Best " and "answer:", which is then removed as "Best answer:".
    assert letter("Best The answeranswer: C") == "C"
    # "The correct answer" comes after "Answer:", so what its removal joins stays.
    assert letter("AnsThe correct answerwer: C") == "A"


def test_more_than_ten_words_without_a_letter_are_no_answer() -> None:
    assert letter("it is not possible to say what this picture is really showing") is None


def test_more_than_ten_words_with_a_letter_count() -> None:
    assert letter("it is hard to say what this picture is really showing, maybe C") == "C"


def test_ten_words_or_fewer_without_a_letter_are_no_answer() -> None:
    assert letter("no idea") is None
    assert letter("") is None


@pytest.mark.parametrize("task", ["V-Star", "HR-Bench", "Synth-HR"])
def test_v_star_and_hr_bench_know_a_to_d(task: str) -> None:
    assert published_letters(task, 4) == "ABCD"
    assert letter("E", published_letters(task, 5)) is None


@pytest.mark.parametrize("task", ["MME-RealWorld", "MME-RealWorld-lite"])
def test_mme_realworld_knows_a_to_f(task: str) -> None:
    assert published_letters(task, 5) == "ABCDEF"
    assert letter("E", published_letters(task, 5)) == "E"
    assert letter("Final: F", published_letters(task, 5)) == "F"


def test_other_tasks_know_a_to_d_or_as_many_letters_as_they_have_options() -> None:
    assert published_letters("Another", 2) == published_letters("Another", 4) == "ABCD"
    assert published_letters("Another", 6) == "ABCDEF"


def test_no_answer_tag_is_no_answer_and_wrong() -> None:
    verdict = judged(Original(), sample("B"), None)
    assert (verdict.status, verdict.correct, verdict.extracted) == ("ok", False, None)


def test_the_judge_takes_the_letters_of_the_task() -> None:
    options = {key: key.lower() for key in "ABCDE"}
    hard = "Maybe E"
    assert judged(Original(), sample("E", options=options, task="MME-RealWorld"), hard).correct
    verdict = judged(Original(), sample("E", options=options, task="HR-Bench"), hard)
    assert (verdict.status, verdict.correct) == ("error", None)
    verdict = judged(Original(), sample("D", options=options, task="HR-Bench"), hard)
    assert (verdict.status, verdict.correct, verdict.extracted) == ("ok", False, None)


def published(text: str, letters: str) -> str | None:
    """The published rule, transcribed from its description alone."""
    text = text.strip()
    for words in [
        "The best answer is",
        "The correct answer is",
        "The answer is",
        "The answer",
        "The best option is",
        "The correct option is",
        "Best answer:",
        "Best option:",
        "Answer:",
        "Option:",
        "The correct answer",
        "The correct option",
    ]:
        text = text.replace(words, "")
    if len(text.split()) > 10 and not re.search(f"[{letters}]", text):
        return None
    found = re.search(f"[{letters}]", text)
    return found[0] if found else None


pieces = st.sampled_from(
    [*STOCK_PREFIXES, "A", "B", "C", "E", "x", " ", "a", ".", "The ", "answer", "is", "best ", "\n"]
)


@given(st.lists(pieces).map("".join) | st.text(), st.sampled_from(["ABCD", "ABCDEF"]))
def test_the_letter_is_the_one_of_the_published_rule(text: str, letters: str) -> None:
    match = original_letter(text, letters)
    assert (match.value if match else None) == published(text, letters)
    if match is not None:
        assert text[slice(*match.span)] == match.value
