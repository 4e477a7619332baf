"""Tokens of answers and option texts, for comparison."""

from __future__ import annotations

import re
from dataclasses import dataclass

IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
"""Characters of scripts written without spaces, and Hangul, as a regular expression's range."""
LETTER_OR_DIGIT = rf"(?:(?!(?-i:[{IDEOGRAPHS}]))[^\W_])"
_TOKEN = re.compile(
    rf"[{IDEOGRAPHS}]"
    rf"|(?:(?<![^\W_])(?:[<>≤≥±]\s?)?-?(?=\d))?{LETTER_OR_DIGIT}+"
    rf"(?:(?:(?<=\d)[.,:](?=\d)|(?<=[^\W\d_])'(?=[^\W\d_])){LETTER_OR_DIGIT}+)*"
    r"(?:[+#]{1,3}(?![^\W_])|(?<=\d)\s?[%‰°](?![^\W_]))?"
)
_THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")


@dataclass(frozen=True)
class Token:
    """A word, number or ideograph of a text.

    Attributes:
        folded: The token's form for comparison: without case and separators of thousands.
        start, end: Place of the token in the text.
    """

    folded: str
    start: int
    end: int


def tokenise(plain_text: str) -> list[Token]:
    """Return the tokens of a text in plain characters without mark-up.

    A token is a maximal run of letters and digits, with points, commas and colons between digits, an
    apostrophe between letters, the sign of a number, and signs that change the meaning ("C++", "C#", "4%",
    ">4"); an ideograph, kana or Hangul syllable is a
    token of its own. Other punctuation and white space separate.
    """
    return [Token(_fold(m.group()), m.start(), m.end()) for m in _TOKEN.finditer(plain_text)]


def words_of(text: str) -> tuple[str, ...]:
    """Return the folded tokens, by which two texts are compared."""
    return tuple(token.folded for token in tokenise(text))


def _fold(text: str) -> str:
    if _THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    return text.casefold()
