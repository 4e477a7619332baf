"""`yes-no` and `word`."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.judges.word import Word, normal_word
from p2r_bench.judges.yes_no import YesNo, yes_or_no
from tests.judges.samples import judged, sample


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", "yes"),
        ("No.", "no"),
        ("**YES**", "yes"),
        (r"\boxed{no}", "no"),
        ("No, there is no dog", "no"),
        ("Yes, and it is not small", "yes"),
        ("The answer is yes.", "yes"),
        ("Answer: No", "no"),
        ("Yes. The answer is yes.", "yes"),
        ("Ｙｅｓ", "yes"),
        ("No, no dog is visible", "no"),
        ("No. No dog can be seen.", "no"),
        ("no, no", "no"),
        ("Yes, yes it is", "yes"),
        ("Yes. No other dog is near.", "yes"),
        ("The answer is no, not yes.", "no"),
        ("<think>yes?</think>No", "no"),
        *(("Yes, I see no dog.", "yes"), ("No, not yes.", "no"), ("Yes is correct", "yes")),
    ],
)
def test_yes_or_no_at_the_start_or_as_the_answer_counts(text: str, expected: str) -> None:
    match = yes_or_no(text)
    assert match is not None and match.value == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "maybe",
        "yes and no",
        "Yes/No",
        "yes or no",
        "Yes. No.",
        "Yes, no",
        "Yes, no dog is visible",
        *("Yes - and no", "Yes, but no", "Yes... actually no", "No, the answer is not no"),
        *("Yes. It is red. So no.", "Yes, wait, no!", "Yes?", "Yes is wrong", "No, not no"),
        "<think>yes",
        "There is no dog",
        "nothing",
        "yesterday",
        "Yes. The answer is no.",
        "Not yes",
        "Norway",
    ],
)
def test_anything_else_is_neither_yes_nor_no(text: str) -> None:
    assert yes_or_no(text) is None


def test_yes_no_verdicts() -> None:
    question = sample("Yes", "yes_no")
    assert judged(YesNo(), question, "yes, it is").correct is True
    assert judged(YesNo(), question, "no").correct is False
    nothing = judged(YesNo(), question, "perhaps")
    assert (nothing.correct, nothing.extracted) == (False, None)
    assert judged(YesNo(), sample("perhaps", "yes_no"), "yes").status == "error"
    assert YesNo().applies(question) and not YesNo().applies(sample())


@pytest.mark.parametrize(
    "text",
    [
        *("dog", "Dog", "DOG.", " the dog ", "A dog!", '"dog"', r"\boxed{dog}"),
        *(
            "Answer: dog",
            "**Answer:** a dog",
            "The answer is dog.",
            '{"answer": "dog"}',
            "答案：dog",
        ),
    ],
)
def test_case_punctuation_and_article_do_not_matter_to_a_word(text: str) -> None:
    match = normal_word(text)
    assert match is not None and match.value == "dog"
    assert "dog" in text[slice(*match.span)].casefold()


@pytest.mark.parametrize("text", ["dogs", "hot dog", "It is a dog", "dogdog", "", "?"])
def test_other_words_do_not_match(text: str) -> None:
    verdict = judged(Word(), sample("dog", "word"), text)
    assert (verdict.status, verdict.correct) == ("ok", False)


@pytest.mark.parametrize("text", ["C++", "C#", "C+", "The answer is C#."])
def test_signs_that_change_a_word_count(text: str) -> None:
    assert judged(Word(), sample("C", "word"), text).correct is False
    assert judged(Word(), sample(text, "word"), text).correct is True
    assert judged(Word(), sample("answer", "word"), "Answer").correct is True


def test_word_verdicts() -> None:
    assert judged(Word(), sample("The Dog", "word"), "dog").correct is True
    assert judged(Word(), sample("1,000", "word"), "1000").correct is True
    assert judged(Word(), sample("...", "word"), "dog").status == "error"
    assert judged(Word(), sample("dog", "word"), None).extracted is None
    assert Word().applies(sample("dog", "word")) and not Word().applies(sample())


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("café", "cafe\u0301"),
        ("cafe\u0301", "CAFÉ"),
        ("Zürich", "Zu\u0308rich"),
        ("STOP", "ＳＴＯＰ"),
    ],
)
def test_unicode_forms_do_not_matter_to_a_word(reference: str, answer: str) -> None:
    verdict = judged(Word(), sample(reference, "word"), answer)
    assert verdict.correct is True
    assert verdict.span == (0, len(answer))


@given(st.text(min_size=1))
def test_a_word_equals_itself_in_every_unicode_form(text: str) -> None:
    forms = [normal_word(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")]
    assert (forms[0] and forms[0].value) == (forms[1] and forms[1].value)


@given(st.text())
def test_any_text_can_be_read_as_a_short_answer(text: str) -> None:
    for match in (yes_or_no(text), normal_word(text)):
        if match is not None:
            start, end = match.span
            assert 0 <= start < end <= len(text)
