"""Whether a single letter in an answer stands for an option."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum

from p2r_bench.judges.tokens import Token, is_ideograph


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


OPTION_WORDS = _words("option choice letter answer ans")
LEADING_WORDS = OPTION_WORDS | _words(
    "answers options is it's that's be was are select selected choose chose chosen choosing pick "
    "picked mark say guess think believe with for as so thus hence therefore definitely probably "
    "clearly likely 是 选 择 为 案 项"
)
"""Words directly after which a letter stands for an option."""
FOLLOWING_WORDS = _words(
    "is was are and or but because since as which that this the a an it its there they he she with "
    "seems appears looks shows matches describes corresponds would should could has have had than "
    "over instead nor to of in on at by from for if then so not only rather correctly"
)
"""Words that follow a letter but never the article "A"."""

_MARKUP = frozenset("*_`~\"'“”«»$|\\")
_OPENING = _MARKUP | frozenset("([{<「『【〈《")
_CLOSING = _MARKUP | frozenset(")]}>」』】〉》")
_GLUE = frozenset("-'.&+/#@%^–—")


class Reading(Enum):
    """How a single letter is read: as naming an option, as perhaps naming one, or as a word."""

    MENTION = "mention"
    DOUBT = "doubt"
    NONE = "none"


def reading(text: str, tokens: Sequence[Token], index: int, letters: Collection[str]) -> Reading:
    """How the single-letter token at `index` is read, where its upper-case form is an option.

    - Part of something longer ("A-frame", "B/W", "D.C.", "B's", "C++"): a word.
    - Lower case: a doubt as a label at the start of the answer ("b) red"), elsewhere a word.
    - "A" or "I" before another word, as the article or the pronoun: a word; not so in brackets or
      mark-up, after an option word ("option A shows"), or before a word that cannot follow an
      article or the pronoun ("A is right", "A and B").
    - In brackets or mark-up, at the start of the answer, of a line or after punctuation, or directly
      after one of LEADING_WORDS ("it is B", "I choose B"): a mention.
    - Elsewhere ("exit B", "vitamin C"): a doubt.

    Args:
        text: The answer after `tokens.plain`.
        tokens: Its tokens.
        letters: The upper-case option letters.
    """
    token = tokens[index]
    if _glued(text, token):
        return Reading.NONE
    if token.text.islower():
        label = index == 0 and label_of(text, tokens) is not None
        return Reading.DOUBT if label else Reading.NONE

    before, after = text[max(token.start - 1, 0) : token.start], text[token.end : token.end + 1]
    wrapped = before in _OPENING and after in _CLOSING
    previous = tokens[index - 1] if index else None
    gap = text[previous.end if previous else 0 : token.start]
    follows = previous.folded if previous and not _breaks(gap) else None
    if (
        token.text in "AI"
        and not wrapped
        and follows not in OPTION_WORDS
        and _introduces_word(text, tokens, index, letters)
    ):
        return Reading.NONE
    if wrapped or follows is None or follows in LEADING_WORDS:
        return Reading.MENTION
    return Reading.DOUBT


def label_of(text: str, tokens: Sequence[Token]) -> str | None:
    """The upper-case form of a letter that labels the rest of the answer ("B. red", "(b) red"), or None."""
    if len(tokens) < 2 or len(tokens[0].text) != 1:
        return None
    ahead, gap = text[: tokens[0].start], text[tokens[0].end : tokens[1].start]
    if not all(c.isspace() or c in _OPENING or c in "-•>#" for c in ahead):
        return None
    return tokens[0].text.upper() if any(c in ")].:-、" for c in gap) else None


def _glued(text: str, token: Token) -> bool:
    before, after = text[max(token.start - 2, 0) : token.start], text[token.end : token.end + 3]
    if len(before) == 2 and before[1] in _GLUE and before[0].isalnum():
        return True
    if after[:1] == ".":
        return after[1:2].isalpha() and not after[2:3].isalnum()
    return after[:1] in ("+", "#", "&") or (after[:1] in _GLUE and after[1:2].isalnum())


def _breaks(gap: str) -> bool:
    """Whether punctuation or a line end separates two tokens."""
    return "\n" in gap or any(not c.isspace() and c not in _MARKUP for c in gap)


def _introduces_word(
    text: str, tokens: Sequence[Token], index: int, letters: Collection[str]
) -> bool:
    """Whether the letter at `index` stands before a word as an article or a pronoun does."""
    if index + 1 == len(tokens):
        return False
    token, following = tokens[index], tokens[index + 1]
    gap = text[token.end : following.start]
    if not gap[:1].isspace() or _breaks(gap):
        return False
    if following.text in letters or is_ideograph(following.text):
        return False
    if token.text == "I":
        return following.folded not in {"and", "or"}
    return following.folded not in FOLLOWING_WORDS
