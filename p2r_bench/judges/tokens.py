"""Splitting answers and option texts into comparable tokens without losing their place."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_LETTER_OR_DIGIT = rf"(?:(?![{_IDEOGRAPHS}])[^\W_])"
_TOKEN = re.compile(
    rf"[{_IDEOGRAPHS}]"
    rf"|(?:(?<![^\W_])-(?=\d))?{_LETTER_OR_DIGIT}+"
    rf"(?:(?:(?<=\d)[.,:](?=\d)|(?<=[^\W\d_])'(?=[^\W\d_])){_LETTER_OR_DIGIT}+)*"
)
_THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_LATEX = re.compile(r"\\[A-Za-z]+\s*(?=\{)|\\[()\[\],;: ]")
_CLOSING_TAG = re.compile(r"</([A-Za-z]+)>")
_SINGLE = {"’": "'", "‘": "'", "−": "-", "‐": "-", "‑": "-"}


@dataclass(frozen=True)
class Token:
    """A word, number or ideograph of a text.

    Attributes:
        text: As it stands there.
        folded: As it is compared: without case and without separators of thousands.
        start, end: Its place.
    """

    text: str
    folded: str
    start: int
    end: int


def plain_characters(text: str) -> str:
    """The text with full-width, circled and typographic characters in their plain form, at their place."""
    return text if text.isascii() else "".join(map(_plain_character, text))


def plain(text: str) -> str:
    """The text in plain characters with its mark-up starred out.

    LaTeX commands such as `\\boxed` and `\\text`, LaTeX delimiters and paired HTML-like tags become
    stars, so the length never changes and places in the result are places in `text`.
    """
    text = plain_characters(text)
    text = _LATEX.sub(_stars, text)
    if names := set(_CLOSING_TAG.findall(text)):
        text = re.sub(rf"</?(?:{'|'.join(sorted(names))})>", _stars, text)
    return text


def tokenise(plain_text: str) -> list[Token]:
    """Tokens of a text that went through `plain`.

    A token is a maximal run of letters and digits, with points, commas and colons between digits, an
    apostrophe between letters and the sign of a number; an ideograph, kana or hangul syllable is a
    token of its own. Other punctuation and white space separate.
    """
    return [
        Token(m.group(), _fold(m.group()), m.start(), m.end()) for m in _TOKEN.finditer(plain_text)
    ]


def is_ideograph(text: str) -> bool:
    """Whether a token is one character of a script that is written without spaces."""
    return re.fullmatch(f"[{_IDEOGRAPHS}]", text) is not None


def _fold(text: str) -> str:
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    return text.casefold()


def _plain_character(character: str) -> str:
    if character.isascii():
        return character
    if character in _SINGLE:
        return _SINGLE[character]
    form = unicodedata.normalize("NFKC", character)
    return form if len(form) == 1 else character


def _stars(match: re.Match[str]) -> str:
    return "*" * len(match.group())
