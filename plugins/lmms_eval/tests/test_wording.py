"""Question, options and instruction are told apart, and what is not understood stays as it is."""

from __future__ import annotations

import pytest
from p2r_bench_lmms_eval.wording import worded

ASKS_LETTER = "\nAnswer with the option's letter from the given choices directly."
BARE = "What is shown?\nA. a cat\nB. a dog\nC. a cow"


@pytest.mark.parametrize("target", ["B", "(B)", "b", "B.", "a dog", 1])
def test_lettered_lines_with_a_fitting_target_are_a_choice(target: object) -> None:
    found = worded(BARE + ASKS_LETTER, BARE, target)
    assert (found.form, found.answer, found.question) == ("choice", "B", "What is shown?")
    assert found.options == {"A": "a cat", "B": "a dog", "C": "a cow"}
    assert found.instruction == ASKS_LETTER.strip()


def test_an_instruction_inside_the_text_is_taken_out_of_a_choice() -> None:
    text = "What is shown?\nOptions:\n(A) a cat\n(B) a dog\nReply with the letter of your choice."
    found = worded(text, text, "A")
    assert (found.question, found.form) == ("What is shown?", "choice")
    assert found.instruction == "Reply with the letter of your choice."


@pytest.mark.parametrize(
    "text",
    [
        "Which?\nA. one\nC. two",
        "Which?\nA. one",
        "Which?\nA. one\nB. two\nUse the figure to find out.",
        "A. Smith painted what?",
    ],
)
def test_what_is_not_clearly_a_choice_is_a_free_question_with_its_whole_text(text: str) -> None:
    found = worded(text, text, "A")
    assert (found.form, found.question, found.options) == ("free", text, {})


def test_a_target_outside_the_options_makes_no_choice() -> None:
    assert worded(BARE + ASKS_LETTER, BARE, "E").form == "free"


@pytest.mark.parametrize(
    ("instruction", "target", "form", "answer"),
    [
        ("\nAnswer with yes or no.", "yes", "yes_no", "Yes"),
        ("\nAnswer the question using a single word or phrase.", "red", "word", "red"),
        ("\nAnswer the question using a single word or phrase.", ["red", "dark red"], "free", '["red", "dark red"]'),
        ("\nDescribe it.", "red", "free", "red"),
    ],
)  # fmt: skip
def test_the_instruction_and_the_target_decide_the_answer_form(
    instruction: str, target: object, form: str, answer: str
) -> None:
    found = worded("What is it?" + instruction, "What is it?", target)
    assert (found.form, found.answer) == (form, answer)
    kept = form == "free"
    assert found.question == ("What is it?" + instruction if kept else "What is it?")
