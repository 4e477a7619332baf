"""`strict`: an option counts only when it is named beyond doubt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.judges.choice import strict_letter
from p2r_bench.judges.strict import Strict
from tests.judges.samples import COLOURS, judged, sample


def letter(text: str, options: Mapping[str, str] = COLOURS) -> str | None:
    match = strict_letter(text, options)
    return match.value if match else None


LONE = [
    "B",
    "B.",
    "B)",
    "(B)",
    "[B]",
    "(B).",
    "（B）",
    "Ｂ",
    "【B】",
    " B \n",
    "**B**",
    "*B*",
    "`B`",
    '"B"',
    "- B",
    "# B",
    "$B$",
    r"\boxed{B}",
    r"$\boxed{\text{B}}$",
    r"\(\mathbf{B}\)",
    "<b>B</b>",
    "<answer>B</answer>",
]


@pytest.mark.parametrize("text", LONE)
def test_a_lone_letter_in_any_dress_is_that_option(text: str) -> None:
    assert letter(text) == "B"


@pytest.mark.parametrize("text", ["b", "(b)", "b.", "**b**", r"\boxed{b}", "（b）"])
def test_a_lower_case_letter_counts_as_the_whole_answer(text: str) -> None:
    assert letter(text) == "B"


@pytest.mark.parametrize("text", ["the answer is b", "option b", "b because it is so", "it is a"])
def test_a_lower_case_letter_within_an_answer_does_not_count(text: str) -> None:
    assert letter(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Answer: C", "C"),
        ("The answer is B", "B"),
        ("The answer is B.", "B"),
        ("The correct answer is (B).", "B"),
        ("The final answer is $\\boxed{D}$.", "D"),
        ("Option C", "C"),
        ("Option A shows it", "A"),
        ("OPTION B", "B"),
        ("The correct option is: B", "B"),
        ("Choice D.", "D"),
        ("I think B", "B"),
        ("I would go with C.", "C"),
        ("It's A", "A"),
        ("It must be B!", "B"),
        ("A is correct", "A"),
        ("A, because it stands out", "A"),
        ("B is it because the sign says so", "B"),
        ("B\n\nThe sign can be seen there.", "B"),
        ("So the result is: B", "B"),
        ("Looking at the sign, B.", "B"),
        ("**B** is it", "B"),
        ("答案是B", "B"),
        ("选B。", "B"),
        ("选项C", "C"),
    ],
)
def test_a_letter_named_in_a_sentence_counts(text: str, expected: str) -> None:
    assert letter(text) == expected


@pytest.mark.parametrize(
    "text",
    ["B. blue", "B) blue", "(B) blue", "B: Blue.", "B - blue", "B, blue", "B (blue)", "B blue"],
)
def test_a_letter_with_its_own_text_counts(text: str) -> None:
    assert letter(text) == "B"


@pytest.mark.parametrize(
    "text", ["B. green", "B) green", "B: it is green", "b. green", "(b) green"]
)
def test_a_letter_with_another_options_text_is_no_answer(text: str) -> None:
    assert letter(text) is None


def test_a_letter_with_text_of_no_option_counts() -> None:
    assert letter("B) Left side") == "B"


@pytest.mark.parametrize("text", ["blue", "Blue", "BLUE.", "It is blue", "the blue one", "b. blue"])
def test_a_unique_option_text_counts_in_any_case(text: str) -> None:
    assert letter(text) == "B"


@pytest.mark.parametrize(
    "text",
    [
        "A and B",
        "A or B",
        "A, B",
        "A/B",
        "both A and B",
        "A B C D",
        "blue and green",
        "B or green",
        "I prefer A, B is worse",
        "It could be blue (A)",
    ],
)
def test_several_options_are_no_answer(text: str) -> None:
    assert letter(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "not A but B",
        "not B",
        "It isn't blue",
        "neither",
        "B is wrong",
        "anything except B",
        "不是B",
    ],
)
def test_a_negation_is_no_answer(text: str) -> None:
    assert letter(text) is None


@pytest.mark.parametrize(
    "text", ["", "   ", "...", "E", "yellow", "Both", "None of the above", "I think"]
)
def test_nothing_of_the_options_is_no_answer(text: str) -> None:
    assert letter(text) is None


def test_the_article_is_not_option_a() -> None:
    options = {"A": "one", "B": "two", "C": "blue car"}
    assert letter("A red car", options) is None
    assert letter("A blue car", options) == "C"
    assert letter("A *blue* thing", options) is None
    assert letter("A", options) == letter("A.", options) == letter("A: a red car", options) == "A"
    assert letter("**A** red car", options) == letter(r"\textbf{A} red car", options) == "A"


def test_the_pronoun_is_not_option_i() -> None:
    options = {key: f"text {key}" for key in "ABCDEFGHI"}
    assert letter("I think so", options) is None
    assert letter("I think it is B", options) == "B"
    assert letter("I.", options) == letter("The answer is I", options) == "I"


@pytest.mark.parametrize(
    "text",
    [
        "exit B",
        "Exit B",
        "Vitamin C",
        "John D. Smith",
        "Washington D.C.",
        "U.S.A.",
        "A-frame",
        "B-52",
        "C++ code",
        "B's",
        "R&B",
        "plan B",
        "Based on the image I cannot tell",
    ],
)
def test_a_letter_that_belongs_to_another_word_is_no_answer(text: str) -> None:
    assert letter(text) is None


def test_a_doubtful_letter_spoils_another_options_mention_only() -> None:
    assert letter("The answer is B, at exit C") is None
    assert letter("The answer is B, at exit B") == "B"


def test_an_option_text_inside_a_longer_one_does_not_count() -> None:
    assert letter("dark red") == letter("It is dark red.") == "D"
    assert letter("red") == "A"
    assert letter("red, or dark red") is None


def test_numbers_match_as_whole_tokens() -> None:
    options = {"A": "7", "B": "17", "C": "-7", "D": "1,000"}
    assert letter("17", options) == "B"
    assert letter("There are 7 cars", options) == "A"
    assert letter("-7", options) == letter("−7", options) == "C"
    assert letter("1000", options) == "D"
    assert letter("B. 17", options) == "B"
    for text in ("7.5", "77", "B. 7", "7 or 17", "7B"):
        assert letter(text, options) is None


def test_an_option_text_that_is_an_option_letter_counts_after_a_label_only() -> None:
    options = {"A": "B", "B": "A", "C": "D", "D": "C"}
    assert letter("B", options) == letter("The answer is B", options) == "B"
    assert letter("A. B", options) == letter("(A) B", options) == "A"
    assert letter("B. B", options) is None
    assert letter("A. C", options) is None


def test_an_option_text_of_one_letter_has_to_have_its_case_in_a_longer_answer() -> None:
    options = {"A": "T", "B": "H", "C": "S", "D": "i"}
    assert letter("h", options) == letter("The letter is H.", options) == "B"
    assert letter("it ends with s", options) is None
    assert letter("I see a T", options) == "A"


def test_an_option_letter_inside_an_option_text_is_part_of_the_text() -> None:
    options = {"A": "Exit B", "B": "Exit C", "C": "A blue car"}
    assert letter("Exit B", options) == letter("the exit b", options) == "A"
    assert letter("B. Exit C", options) == "B"
    assert letter("A blue car", options) == "C"


def test_a_negation_inside_an_option_text_is_part_of_the_text() -> None:
    options = {"A": "Yes", "B": "No", "C": "The image doesn't show it.", "D": "None of the above"}
    assert letter("No, there is no dog", options) == "B"
    assert letter("The image doesn't show it", options) == "C"
    assert letter("The image does not show it", options) is None
    assert letter("None of the above.", options) == "D"


def test_a_text_shared_by_two_options_needs_its_letter() -> None:
    options = {"A": "red", "B": "Red", "C": "blue"}
    assert letter("red", options) is None
    assert letter("B. red", options) == "B"
    assert letter("C. red", options) is None


def test_option_texts_may_repeat_their_own_label() -> None:
    options = {"A": "(A) The black one.", "B": "B. The red one."}
    assert letter("The red one", options) == letter("(B) The red one.", options) == "B"
    assert letter("(A) The red one.", options) is None


def test_option_texts_of_symbols_match_as_the_whole_answer() -> None:
    options = {"A": "+", "B": "→", "C": "<"}
    assert letter(" → ", options) == "B"
    assert letter("it is +", options) is None


def test_options_in_other_scripts() -> None:
    options = {"A": "红色", "B": "深红色", "C": "зелёный", "D": "größer"}
    assert letter("它是红色的", options) == "A"
    assert letter("深红色", options) == "B"
    assert letter("Зелёный", options) == "C"
    assert letter("GRÖSSER", options) == "D"


def test_the_span_is_where_the_option_is_named() -> None:
    for text, named in [
        ("The answer is (C).", "C"),
        ("It is Dark  Red.", "Dark  Red"),
        ("（Ｂ）", "Ｂ"),
    ]:
        match = strict_letter(text, COLOURS)
        assert match is not None
        assert text[slice(*match.span)] == named


words = st.text(st.sampled_from("efghjkmopqrstuvwxyz"), min_size=2, max_size=6)
letters = st.sampled_from("ABCD")
texts = st.dictionaries(st.sampled_from("ABCDEFGHI"), st.text(max_size=12))


@given(st.text(), st.dictionaries(st.text(max_size=3), st.text(max_size=8), max_size=6) | texts)
def test_any_text_gives_an_option_or_nothing(text: str, options: dict[str, str]) -> None:
    match = strict_letter(text, options)
    if match is not None:
        assert match.value in options
        start, end = match.span
        assert 0 <= start < end <= len(text)


@given(
    st.lists(
        st.sampled_from(["A", "B", "b", "(", ")", ".", " ", "red", "blue", "not", "is", "\n", "*"])
    ),
)
def test_answers_made_of_the_words_that_matter_give_an_option_or_nothing(parts: list[str]) -> None:
    for text in ("".join(parts), " ".join(parts)):
        match = strict_letter(text, COLOURS)
        assert match is None or match.value in COLOURS


@given(st.lists(words, min_size=4, max_size=4, unique=True), st.permutations(range(4)), st.data())
def test_permuting_the_option_texts_permutes_the_result(
    texts: list[str], order: list[int], data: st.DataObject
) -> None:
    answer = data.draw(
        st.lists(st.sampled_from([*texts, "they", "show"]), max_size=4).map(" ".join)
    )
    before = letter(answer, dict(zip("ABCD", texts, strict=True)))
    after = letter(answer, {"ABCD"[i]: texts[order[i]] for i in range(4)})
    assert (before is None) == (after is None)
    if before is not None and after is not None:
        assert texts["ABCD".index(before)] == texts[order["ABCD".index(after)]]


@given(letters, st.lists(st.sampled_from(["()", "[]", "**", '""', "$$", "  ", "「」"]), max_size=4))
def test_wrapping_a_lone_letter_changes_nothing(key: str, wraps: list[str]) -> None:
    text = key
    for wrap in wraps:
        text = f"{wrap[0]}{text}{wrap[1]}"
    assert letter(text) == letter(text.lower()) == letter(f"{text}.") == key


@given(letters, letters, st.sampled_from(["{}. {}", "({}) {}", "{}: {}", "{}\n{}", "**{}** {}"]))
def test_a_label_and_a_text_agree_or_are_no_answer(key: str, other: str, form: str) -> None:
    assert letter(form.format(key, COLOURS[other])) == (key if key == other else None)


def test_the_documented_examples_hold() -> None:
    page = Path(__file__).parents[2] / "docs" / "scoring.md"
    table = page.read_text("utf-8").partition("| answer (A red, B blue, C green, D dark red)")[2]
    examples = re.findall(r"^\| `(.+?)` \| (\w+) \|$", table.partition("\n\n")[0], re.MULTILINE)
    assert len(examples) == table.partition("\n\n")[0].count("\n| `") > 5
    for text, expected in examples:
        assert (letter(text) or "none") == expected, text


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
