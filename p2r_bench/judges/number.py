"""Which number an answer gives: the extraction of the scorer `numeric`."""

from __future__ import annotations

import re

from p2r_bench.judges.match import Match
from p2r_bench.judges.tokens import plain_characters, tokenise

LONGEST_ANSWER = 1000
"""Longer texts, in characters, hold no number; with `_LONGEST_NUMBER` it bounds the work of a comparison."""
_LONGEST_NUMBER = 60

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBER_WORDS = {
    **{word: value for value, word in enumerate(_ONES.split())},
    **{word: value for value, word in zip(range(20, 100, 10), _TENS.split(), strict=True)},
}

_N = r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
_POWER = r"\s*(?:\^|\*\*)\s*(?:\{\s*[-+]?\d{1,3}\s*\}|[-+]?\d{1,3}(?!\d))"
_NUMBER = re.compile(
    r"(?<![\w.])(?:(?<![\w)}%])[-+]\s?)?(?:"
    rf"\\[dt]?frac\s*\{{\s*-?{_N}\s*\}}\s*\{{\s*{_N}\s*\}}"
    rf"|{_N}\s*(?:×|·|\*|\\times|\\cdot)\s*10{_POWER}"
    rf"|{_N}?\s*(?:\\sqrt\s*\{{\s*{_N}\s*\}}|\\pi(?![A-Za-z])|π)"
    rf"|(?:{_N}[ \t]+)?{_N}\s*/\s*{_N}(?![\d.]|\s*/)"
    rf"|{_N}[eE][-+]?\d{{1,3}}(?!\w)"
    rf"|{_N}(?:{_POWER}|\s*\\?%)?"
    r")"
)
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_MIXED = re.compile(rf"([-+]?)\s?({_N})[ \t]+({_N}\s*/\s*{_N})(.*)")
_TO_LATEX = (
    (re.compile(r"(?<=\d),(?=\d{3})"), ""),
    (re.compile(r"(?<=[\d.])[eE](?=[-+]?\d)"), r"\\times 10^"),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\s*[×·*]\s*"), r"\\times "),
    (re.compile(r"\^\s*([-+]?\d+)"), r"^{\1}"),
    (re.compile(r"π"), r"\\pi "),
    (re.compile(r"\s*\\?%"), r"\\%"),
)


def numbers(text: str) -> list[Match]:
    """The numbers that an answer gives; usually one.

    What stands in the last `\\boxed{…}`, or else after the last "=" or "≈", is searched where there is
    one. A number has an optional sign and separators of thousands, and may be a decimal, a fraction,
    a mixed number, a power, of the form 3×10^5 or 3e5, a root, a multiple of π, or a percentage; units
    and ordinal endings after it do not matter, and digits after a letter ("B12") are no number. Without
    digits a single English number word up to ninety counts ("one" only as the first word).

    Args:
        text: The answer, already taken out of its tags.

    Returns:
        In order of appearance, as written in plain characters, a word as digits, with their places in
        `text`. Empty for texts over LONGEST_ANSWER.
    """
    if len(text) > LONGEST_ANSWER:
        return []
    answer = plain_characters(text)
    start, end = _searched(answer)
    found = [
        Match(m.group(), m.span())
        for m in _NUMBER.finditer(answer, start, end)
        if len(m.group()) <= _LONGEST_NUMBER
    ]
    return found or _words(answer[start:end], start)


def _searched(answer: str) -> tuple[int, int]:
    if boxed := list(_BOXED.finditer(answer)):
        return boxed[-1].span(1)
    return max(answer.rfind("="), answer.rfind("≈")) + 1, len(answer)


def as_latex(number: str) -> str:
    """A value of `numbers` as the LaTeX formula that math-verify reads."""
    if mixed := _MIXED.fullmatch(number):
        sign, whole, fraction, rest = mixed.groups()
        number = f"{sign}({whole}+{fraction}){rest}"
    for pattern, latex in _TO_LATEX:
        number = pattern.sub(latex, number)
    return f"${number}$"


def _words(answer: str, offset: int) -> list[Match]:
    tokens = tokenise(answer)
    if any(c.isdecimal() for c in answer):
        return []
    return [
        Match(str(NUMBER_WORDS[t.folded]), (offset + t.start, offset + t.end))
        for i, t in enumerate(tokens)
        if t.folded in NUMBER_WORDS and (t.folded != "one" or i == 0)
    ]
