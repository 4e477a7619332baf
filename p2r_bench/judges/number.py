"""Extraction of the scorer `numeric`: the number that an answer gives."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from p2r_bench.judges.explanations import explained, marks, of_speaker
from p2r_bench.judges.match import Match
from p2r_bench.judges.number_words import NUMBER_WORDS, OTHER_SCALES, SCALES, value_of
from p2r_bench.judges.plain import blank_thoughts, plain_characters
from p2r_bench.judges.refusals import DENIED, NEGATED, QUESTIONED, REFUSED
from p2r_bench.judges.tokens import LETTER_OR_DIGIT as _L

LONGEST_ANSWER = 1000
"""Characters searched, from the end. In a longer answer only a number in `\\boxed{…}` or after "answer is" counts."""

_N = r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,40})(?:\.\d{1,40})?|\.\d{1,40})"
_SCALES = {**SCALES, "k": 10**3, "百": 100, "千": 1000}
_SCALES |= dict.fromkeys("万萬만", 10**4) | dict.fromkeys("亿億억", 10**8)
_NUMBER = re.compile(
    rf"""
    (?<!{_L}) (?<![.^]) (?<!\d[-/:,'_]) (?<!\d\s[-/:]) (?<!(?-i:[A-Z])-)
    (?P<sign> (?:(?<![\w)}}%])(?:[-+]|[‒–—―](?=[\d.])) | minus | negative | 负 | 負 | マイナス) \s? )?
    (?:
        \\[dt]?frac \s? (?:
            \{{ \s? (?P<top>-?{_N}) \s? \}} \s? \{{ \s? (?P<under>{_N}) \s? \}}
            | (?P<digit>\d) \s? (?P<by>\d) (?!\d) )
      | (?P<factor>{_N}) \s? (?:×|·|\*|x|\\times|\\cdot) \s? 10
            \s?(?:\^|\*\*)\s? \{{?(?P<ten>[-+]?\d{{1,3}})\}}?
      | (?P<times>{_N})? \s? (?:
            (?:\\sqrt|√)\s? (?: \{{\s?(?P<root>{_N})\s?\}} | (?P<bare>{_N}) )
            | (?P<pi>\\pi(?![A-Za-z])|π) )
      | (?:(?P<whole>\d{{1,40}})[ \t]{{1,3}})? (?P<over>{_N}) \s?/\s? (?P<below>{_N})
      | (?P<mantissa>{_N}) e (?P<e>[-+]?\d{{1,3}})
      | (?P<base>\d{{1,12}}) \s?(?:\^|\*\*)\s? \{{?(?P<power>[-+]?\d{{1,3}})\}}?
      | (?P<decimal>{_N})
    )
    (?: (?P<scale> k(?![A-Za-z\d]) | [百千万萬만亿億억] | \s?(?:{"|".join(SCALES)})s?(?![A-Za-z]) )
      | (?P<percent> \s?(?:\\?% | percent(?!age) | per\scent) ) )?
    (?! \s?(?: (?-i:[MBTGD])(?![A-Za-z]) | ‰ | \^ | \*\* | [+] | or\s(?:more|less|fewer) )
      | (?:[.,:'’/_-] | \s[-–/:]\s?)? \d | [–—]\d | [A-Za-z]{{1,3}}\d | -{_L} )
    """,
    re.IGNORECASE | re.VERBOSE,
)
_NUMBER_WORDS = re.compile(rf"(?:(?:minus|negative)\s)?(?P<words>{NUMBER_WORDS.pattern})", re.I)
_UNIT_POWER = re.compile(r"(?<=[A-Za-z])\s?\^\s?\{?[-+]?\d{1,2}\}?")
_DRESS = re.compile(
    r"</?answer>|(?<!\d)\*\*|\*\*(?!\s?[-{\d])|[$`\"“”]|\\(?:text|math[a-z]{1,6})\s?(?=\{)|\\[,;! ()]"
)
_BOXED = re.compile(r"\\f?boxed\s?\{((?:[^{}]|\{[^{}]{0,80}\}){0,200})\}")
_DECLARED = re.compile(
    r"(?:\banswer|答案|正解|答え|정답은?|답은?)\s{0,3}(?:(?:is|:|=|是|为|為|は)[\s*:({]{0,20})+"
    r"(?:(?:about|approximately|around|roughly)\s)?",
    re.IGNORECASE,
)
_ALTERNATIVE = re.compile(r"\s?(?:\w{1,12}\s)?(?:or|to|and|,|&)\s?[-+.]?\d", re.IGNORECASE)
_DOUBTED = re.compile(
    r"(?:least|most|up\sto|between|nearly|under|over|below|above|[<>≤≥±≠])\s?\Z", re.IGNORECASE
)
_UNIT = re.compile(r"[^\S\n]?[^\W\d][\w'/^-]*(?:[^\S\n][^\W\d][\w'-]*){0,3}|[%°€£¥]\w?")
_TAKES_BACK = (OTHER_SCALES, REFUSED, DENIED, QUESTIONED)
_PARTS = re.compile(
    r"(?<![^\W_])(?:half|halves|thirds?|quarters?|dozens?|couple|twice|point|hundreds|thousands|"
    r"millions|billions)(?![^\W_])|\\[dt]?frac|\\sqrt",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Number:
    """A number and its place in the answer.

    Attributes:
        value: A fraction, or a float for a root or a multiple of π.
        percent: True if the number is written as a percentage.
        match: The number in plain characters, words as digits, with its place in the answer.
    """

    value: Fraction | float
    percent: bool
    match: Match

    def equals(self, other: Number) -> bool:
        """Return True if both have the same value.

        Integers are compared exactly; finite decimals to nine significant digits; others, such as 1/3
        and √2, to six. A percentage also equals its number and its fraction: "50%" is 50 and 0.5.
        """
        if self.percent != other.percent:
            percent, plain = (self, other) if self.percent else (other, self)
            return _same(percent.value, plain.value) or _same(percent.value / 100, plain.value)
        return _same(self.value, other.value)


def read_number(text: str) -> Number | None:
    r"""Return the one number that an answer gives; None without one or in case of doubt.

    The number in the last `\boxed{…}` counts; else the one after the last "answer is" or "answer:"; else
    the answer, from the last "=" or "≈" on, may hold no other number. A number has an optional sign and
    separators of thousands, and is a decimal, a fraction, a mixed number, a power, of the form 3×10^5 or
    3e5, a root, a multiple of π, a percentage, or has a scale such as "million" or "k"; or it is written
    in English words. Units and ordinal endings after it do not matter.

    Doubtful are digits that belong to no number ("1.234.567", "3:45", "F-16", "5M"), other scales ("3 bn",
    "3 Millionen"), ranges, "not 3", "3 is wrong", "3?", "more than 3", "half", and different numbers.

    Args:
        text: The answer, already taken out of its tags.
    """
    start = max(0, len(text) - LONGEST_ANSWER)
    plain = plain_characters(blank_thoughts(text)[start:])
    answer = _UNIT_POWER.sub(_blank, _DRESS.sub(_blank, plain.text))
    boxed = deque(_BOXED.finditer(answer), 1)
    declared = deque(_DECLARED.finditer(answer), 1)
    if boxed:
        number = _only(answer, *boxed[0].span(1))
    elif declared:
        at = declared[0].end()
        if _doubted(answer, declared[0].start()):
            return None
        number = _declared(answer, at) or _only(answer, at, len(answer))
    elif start:
        return None
    else:
        number = _only(answer, max(answer.rfind("="), answer.rfind("≈")) + 1, len(answer))
    if number is None:
        return None
    first, last = plain.span(*number.match.span)
    match = Match(number.match.value, (start + first, start + last))
    return replace(number, match=match)


def _declared(answer: str, at: int) -> Number | None:
    """Return the number at this place, unless the answer offers another beside it."""
    match = _NUMBER.match(answer, at) or _NUMBER_WORDS.match(answer, at)
    if match is None or _ALTERNATIVE.match(answer, match.end()):
        return None
    return _value(match)


def _only(answer: str, start: int, end: int) -> Number | None:
    """Return the one number in a part of the answer; None if other digits are left over."""
    matches = list(_NUMBER.finditer(answer, start, end))
    if not matches and not re.search(r"\d", answer[start:end]):
        matches = [
            m
            for m in _NUMBER_WORDS.finditer(answer, start, end)
            if m[0].casefold() != "one" or not re.search(r"\w", answer[start : m.start()])
        ]
    rest = list(answer[start:end])
    for match in matches:
        rest[match.start() - start : match.end() - start] = " " * len(match[0])
    left = "".join(rest)
    if re.search(rf"(?<!{_L})\d", left) or _PARTS.search(left):
        return None
    if any(_doubted(answer, m.start()) or not _stands(answer, m) for m in matches):
        return None
    numbers = [_value(match) for match in matches]
    if not numbers or numbers[0] is None:
        return None
    if any(number is None or not number.equals(numbers[0]) for number in numbers):
        return None
    return numbers[0]


def _doubted(answer: str, at: int) -> bool:
    before = answer[max(0, at - 60) : at]
    return bool(_DOUBTED.search(before) or NEGATED.search(before))


def _stands(answer: str, match: re.Match[str]) -> bool:
    """Return whether the text after a number and its unit supports it: "3, because …", not "3, I doubt it".

    The full rule holds for a number that begins the answer. After any other number, any text but a doubt of the
    speaker's may follow.
    """
    unit = _UNIT.match(answer, match.end())
    at = unit.end() if unit else match.end()
    between = marks(answer, at)
    if not re.match(r"\s?[,;:.(–—-]", between):
        return True
    after = at + len(between)
    if answer[after : after + 1].isdecimal() or explained(answer, at):
        return True
    if re.search(r"\w", answer[: match.start()]):
        return not of_speaker(answer, after)
    return any(value_of(run["words"]) is not None for run in _NUMBER_WORDS.finditer(answer, after))


def _value(match: re.Match[str]) -> Number | None:
    """Return the value of a match; None if it divides by zero, its words make no number, or the rest retracts it."""
    if any(after.match(match.string, match.end()) for after in _TAKES_BACK):
        return None
    part = match.groupdict()
    if part.get("words"):
        worded = value_of(part["words"])
        if worded is None:
            return None
        value: Fraction | float = Fraction(worded)
        negative = match.start("words") > match.start()
        written = f"{'-' if negative else ''}{worded}"
    else:
        try:
            value = _magnitude(part)
        except ZeroDivisionError:
            return None
        negative = part["sign"] is not None and part["sign"].strip() != "+"
        written = match[0].strip()
        if part["scale"]:
            value *= _SCALES[part["scale"].strip().casefold().removesuffix("s")]
    start = match.start() + len(match[0]) - len(match[0].lstrip())
    span = (start, match.start() + len(match[0].rstrip()))
    percent = part.get("percent") is not None
    return Number(-value if negative else value, percent, Match(written, span))


def _magnitude(part: Mapping[str, str | None]) -> Fraction | float:
    def number(name: str, default: str = "1") -> Fraction:
        return Fraction((part[name] or default).replace(",", ""))

    def power(name: str) -> int:
        return int(part[name] or 0)

    if part["digit"]:
        return number("digit") / number("by")
    if part["top"]:
        return number("top") / number("under")
    if part["factor"]:
        return number("factor") * Fraction(10) ** power("ten")
    if part["root"] or part["bare"]:
        return float(number("times")) * math.sqrt(number("root" if part["root"] else "bare"))
    if part["pi"]:
        return float(number("times")) * math.pi
    if part["over"]:
        return number("whole", "0") + number("over") / number("below")
    if part["mantissa"]:
        return number("mantissa") * Fraction(10) ** power("e")
    if part["base"]:
        return number("base") ** power("power")
    return number("decimal")


def _same(a: Fraction | float, b: Fraction | float) -> bool:
    if isinstance(a, float) or isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-6)
    if a.denominator == b.denominator == 1:
        return a == b
    difference, larger = abs(a - b), max(abs(a), abs(b))
    if all(pow(10, 1000, value.denominator) == 0 for value in (a, b)):
        return difference * 10**9 < larger
    return difference * 10**6 <= larger


def _blank(match: re.Match[str]) -> str:
    return " " * len(match.group())
