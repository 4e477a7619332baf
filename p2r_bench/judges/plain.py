"""Plain text for scorers: no thoughts, mark-up, quotes or special tokens."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from p2r_bench.adapter.thoughts import spoken

LONGEST_ANSWER = 20_000
"""Most characters of a text that is read for a yes, no or word."""

_TYPOGRAPHIC = str.maketrans("’‘−‐‑", "''---")
_CIRCLED = re.compile("[\U0001f150-\U0001f189]")
_PARENTHESISED = re.compile(r"\((\w)\)")
_DRESS = re.compile(
    r"<\|[^<>|\n]{1,60}\|>"  # special tokens
    r"|</?(?:[abipsu]|[A-Za-z][\w:-]{1,30})\s?/?>"  # tags
    r"|```(?:[\w+-]{1,20}(?=[^\S\n]?\n))?"  # code fences
    r"|\\(?!f?boxed)[A-Za-z]{1,30}\s?(?=\{)|\\[()\[\],;:! ]"  # LaTeX
    r"|[*`\"“”„«»$]|(?<!\w)#|(?<![^\W_])_+|_+(?![^\W_])|(?<!\w)'|'(?!\w)"  # emphasis, quotes
    r"|[\u200b-\u200d\u2060\ufe0e\ufe0f\ufeff]"  # invisible characters
)
_BOXED = re.compile(r"\\f?boxed\s?(?=\{)")
_SPEAKER = re.compile(r"\s*assistant[ \t]*[:\n]", re.IGNORECASE)


@dataclass(frozen=True)
class Plain:
    """A text in plain characters, each with its origin in the original text.

    Attributes:
        text: Plain characters.
        starts, ends: For each of them, start and end of its origin in the original text.
    """

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the place in the original text of `text[start:end]`, which must not be empty."""
        return self.starts[start], self.ends[end - 1]


def plain_characters(text: str) -> Plain:
    """Return the text in Unicode's NFKC form, with circled letters and typographic signs simplified.

    "（Ｂ）", "Ⓑ" and a decomposed "é" become "(B)", "B" and "é". Superscripts and vulgar fractions stay
    apart from digits beside them: "cm²" is "cm^2" and "2½" is "2 1/2".
    """
    if text.isascii() or (unicodedata.is_normalized("NFKC", text) and not _CIRCLED.search(text)):
        places = range(len(text) + 1)
        return Plain(text.translate(_TYPOGRAPHIC), places, places[1:])
    characters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    start = 0
    for end in range(1, len(text) + 1):
        if end < len(text) and _joins(text[end]):
            continue
        form = _form(text[start:end])
        characters.append(form)
        starts += [start] * len(form)
        ends += [end] * len(form)
        start = end
    return Plain("".join(characters), starts, ends)


def read_text(text: str) -> Plain:
    """Return the answer in plain characters, with thoughts and mark-up blanked out.

    Empty for an answer of more than `LONGEST_ANSWER` characters, thoughts not counted.
    """
    blanked = blank_thoughts(text)
    answer = blanked.strip()
    if len(answer) > LONGEST_ANSWER:
        return Plain("", (), ())
    before = len(blanked) - len(blanked.lstrip())
    plain = plain_characters(answer)
    starts, ends = ([place + before for place in places] for places in (plain.starts, plain.ends))
    return Plain(_BOXED.sub(_blank, undressed(plain.text)), starts, ends)


def blank_thoughts(text: str) -> str:
    """Return the text with its thoughts blanked out, so that positions in the text stay the same."""
    parts: list[str] = []
    last = 0
    for start, end in spoken(text):
        parts += ("\n" * (start - last), text[start:end])
        last = end
    return "".join(parts).ljust(len(text), "\n")


def undressed(text: str) -> str:
    """Return plain characters with mark-up, quotes, code fences and special tokens blanked out.

    A leading line "assistant" goes too. `\\boxed` stays. The length never changes.
    """
    text = _DRESS.sub(_blank, text)
    return _SPEAKER.sub(_blank, text, count=1) if _SPEAKER.match(text) else text


@lru_cache(4096)
def _joins(character: str) -> bool:
    """Return whether a character may compose with the one before: a mark, or a Hangul vowel or final."""
    return unicodedata.category(character).startswith("M") or "\u1160" <= character <= "\u11ff"


@lru_cache(4096)
def _form(cluster: str) -> str:
    if cluster.isascii():
        return cluster
    if _CIRCLED.match(cluster):  # letters in black circles and squares
        code = ord(cluster[0]) - 0x1F150
        return chr(ord("A") + code % 0x20) if code % 0x20 < 26 else cluster
    form = unicodedata.normalize("NFKC", cluster).translate(_TYPOGRAPHIC)
    if unicodedata.decomposition(cluster[0]).startswith("<super> 00") and form.isdecimal():
        return f"^{form}"
    if "⁄" in form and len(form) > 1:
        return f" {form.replace('⁄', '/')}"
    return _PARENTHESISED.sub(r"\1", form)


def _blank(match: re.Match[str]) -> str:
    return " " * len(match.group())
