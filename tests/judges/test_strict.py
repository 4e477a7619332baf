"""`strict`: an option counts only when it is named beyond doubt."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.judges.choice import LONGEST_REPLY, strict_letter
from p2r_bench.judges.strict import Strict
from tests.judges.samples import COLOURS, judged, sample
from tools.scorer_table import SCORERS, counts

LABELLED = [
    json.loads(line)
    for line in Path(__file__).with_name("labelled_replies.jsonl").read_text("utf-8").splitlines()
]
KINDS = list(dict.fromkeys(row["kind"] for row in LABELLED))


def letter(text: str, options: Mapping[str, str] = COLOURS) -> str | None:
    match = strict_letter(text, options)
    return match.value if match else None


@pytest.mark.parametrize("kind", KINDS)
def test_a_labelled_reply_is_read_as_a_careful_reader_does(kind: str) -> None:
    read = {r["text"]: letter(r["text"], r["options"]) for r in LABELLED if r["kind"] == kind}
    assert read == {r["text"]: r["extracted"] for r in LABELLED if r["kind"] == kind}


@pytest.mark.parametrize("key", ["A", "B", "D"])
def test_every_letter_is_read_alike(key: str) -> None:
    kinds = ("letter alone", "several letters", "ruled out", "declaration", "declaration of none")
    for row in LABELLED:
        text = row["text"]
        if row["kind"] in kinds and not re.search(r"red|blue|green|[abd]\b|\b[ABD]\b", text):
            moved = re.sub(r"(?<![A-Za-z])C(?![A-Za-z])", key, text)
            expected = key if row["extracted"] and moved != text else row["extracted"]
            assert letter(moved) == expected, moved


def test_the_documented_examples_hold() -> None:
    page = Path(__file__).parents[2] / "docs" / "scoring.md"
    table = page.read_text("utf-8").partition("| reply (A red, B blue, C green, D dark red)")[2]
    examples = re.findall(r"^\| `(.+?)` \| (\w+) \|$", table.partition("\n\n")[0], re.MULTILINE)
    assert len(examples) == table.partition("\n\n")[0].count("\n| `") > 10
    for text, expected in examples:
        assert (letter(text) or "none") == expected, text


@given(
    st.text(st.sampled_from("fghjkmopqrstuvwxyz "), min_size=1, max_size=30),
    st.sampled_from(":-–,;"),
)
def test_unknown_words_after_a_label_never_leave_it_standing(tail: str, mark: str) -> None:
    reply = f"B{mark} x{tail}"
    assert letter(reply) is None, reply


def test_a_thought_is_no_answer() -> None:
    assert letter("<think>The answer is A.</think>The answer is B.") == "B"
    assert letter("It could be A.</think>B") == "B"
    assert letter("<think>it is B") is None
    assert letter("<think>x</think>") is None


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("The answer is (C).", "C"),
        ("It is Dark  Red.", "Dark  Red"),
        ("（Ｂ）", "Ｂ"),
        ("⒝", "⒝"),
        ("é <think>A</think> Answer: B. blue", "B"),
    ],
)
def test_the_span_is_where_the_option_is_named(text: str, named: str) -> None:
    match = strict_letter(text, COLOURS)
    assert match is not None
    assert text[slice(*match.span)] == named


def test_the_middle_of_a_very_long_reply_is_not_read() -> None:
    filler = "the sign " * LONGEST_REPLY
    text = f"{filler}. The answer is A. {filler}"
    assert letter(text) is None
    match = strict_letter(f"{text}. The answer is B. ", COLOURS)
    assert match is not None and match.value == "B"
    assert match.span == (len(text) + 16, len(text) + 17)
    assert letter(f"B. {filler}") == "B"


def test_a_text_shared_by_two_options_needs_its_letter() -> None:
    options = {"A": "red", "B": "Red", "C": "blue"}
    assert letter("RED", options) is letter("Answer: red", options) is None
    assert letter("red", options) == letter("A. red", options) == "A"
    assert letter("B. red", options) == letter("Red", options) == "B"
    assert letter("C. red", options) is None


def test_option_texts_may_repeat_their_own_label() -> None:
    options = {"A": "(A) The black one.", "B": "B. The red one."}
    assert letter("The red one", options) == letter("(B) The red one.", options) == "B"
    assert letter("(A) The red one.", options) is None


def test_option_texts_of_symbols_match_as_the_whole_reply() -> None:
    options = {"A": "+", "B": "→", "C": "<"}
    assert letter(" → ", options) == "B"
    assert letter("the sign shows +", options) is None


def test_option_texts_compare_in_composed_form_and_any_case() -> None:
    options = {"A": "café", "B": "größer", "C": "зелёный"}
    assert letter("cafe\u0301", options) == letter("Answer: CAFE\u0301", options) == "A"
    assert letter("GRÖSSER", options) == "B"
    assert letter("Зелёный", options) == "C"


def test_a_key_that_is_no_letter_is_named_by_its_text_only() -> None:
    assert letter("red", {"1": "red", "2": "blue"}) == "1"
    assert letter("1", {"1": "red", "2": "blue"}) is None


words = st.text(st.sampled_from("efghjkmopqrstuvwxyz"), min_size=3, max_size=6)
texts = st.dictionaries(st.sampled_from("ABCDEFGHI"), st.text(max_size=12))
pieces = st.lists(
    st.sampled_from(
        [
            *(
                "A",
                "B",
                "b",
                "(",
                ")",
                ".",
                ",",
                ":",
                " ",
                "\n",
                "*",
                "red",
                "blue",
                "not",
                "is",
                "or",
            ),
            *(
                "the answer is ",
                "Answer:",
                "\\boxed{",
                "}",
                "答案是",
                "<think>",
                "</think>",
                "é",
                "½",
            ),
        ]
    )
)


@given(st.text(), st.dictionaries(st.text(max_size=3), st.text(max_size=8), max_size=6) | texts)
def test_any_text_gives_an_option_or_nothing(text: str, options: dict[str, str]) -> None:
    match = strict_letter(text, options)
    if match is not None:
        assert match.value in options
        start, end = match.span
        assert 0 <= start < end <= len(text)


@given(pieces)
def test_a_reply_of_the_words_that_matter_gives_an_option_in_the_text(parts: list[str]) -> None:
    text = "".join(parts)
    match = strict_letter(text, COLOURS)
    if match is not None:
        assert match.value in COLOURS
        named = text[slice(*match.span)].strip(" \n*().,:}").upper()
        assert named in {match.value, COLOURS[match.value].upper()}


@given(st.lists(words, min_size=4, max_size=4, unique=True), st.permutations(range(4)), st.data())
def test_permuting_the_option_texts_permutes_the_result(
    texts: list[str], order: list[int], data: st.DataObject
) -> None:
    said = st.sampled_from([*texts, "It is", "The answer is", ",", "or"])
    reply = data.draw(st.lists(said, max_size=4).map(" ".join))
    before = letter(reply, dict(zip("ABCD", texts, strict=True)))
    after = letter(reply, {"ABCD"[i]: texts[order[i]] for i in range(4)})
    assert (before is None) == (after is None)
    if before is not None and after is not None:
        assert texts["ABCD".index(before)] == texts[order["ABCD".index(after)]]


@given(
    st.sampled_from("ABCD"),
    st.lists(st.sampled_from(["()", "[]", "**", '""', "$$", "  ", "「」", "``"]), max_size=4),
)
def test_a_letter_in_any_dress_is_that_option(key: str, dress: list[str]) -> None:
    text = key
    for pair in dress:
        text = pair[: len(pair) // 2] + text + pair[len(pair) // 2 :]
    assert letter(text) == letter(f"The answer is {text}.") == key


def test_no_answer_is_wrong_and_says_so() -> None:
    for answer in (None, "who knows"):
        verdict = judged(Strict(), sample("B"), answer)
        assert (verdict.status, verdict.correct, verdict.extracted) == ("ok", False, None)


def test_the_verdict_compares_the_letter_with_the_right_one() -> None:
    right, wrong = judged(Strict(), sample("B"), "(B)"), judged(Strict(), sample("B"), "green")
    assert (right.correct, right.extracted, right.span) == (True, "B", (1, 2))
    assert (wrong.correct, wrong.extracted, wrong.span) == (False, "C", (0, 5))


def test_a_right_answer_that_is_no_option_is_an_error_not_a_wrong_answer() -> None:
    verdict = judged(Strict(), sample("F"), "B")
    assert (verdict.status, verdict.correct) == ("error", None)
    assert verdict.error is not None and verdict.error.type == "bad_reference"


def test_strict_judges_choices_only() -> None:
    assert Strict().applies(sample())
    assert not Strict().applies(sample("7", "number"))


def test_the_documented_figures_hold() -> None:
    page = (Path(__file__).parents[2] / "docs" / "scoring.md").read_text("utf-8")
    for name, figures in {
        label: " | ".join(map(str, counts(LABELLED, SCORERS[scorer])))
        for label, scorer in (("`strict`, version 3", "strict"), ("`original`", "original"))
    }.items():
        assert f"| {name} | {figures} |" in page
    assert Strict.version == "3"
