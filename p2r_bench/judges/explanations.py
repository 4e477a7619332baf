"""Explanations after an option or a number that begins a reply.

A label alone does not count as the answer: "B: nah" begins like "B: blue". The text after its punctuation must be an
explanation of a kind listed here, or name the option.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass

from p2r_bench.judges.refusals import CONDITION, DENIED, NEGATED, REFUSED
from p2r_bench.judges.tokens import IDEOGRAPHS, tokenise
from p2r_bench.judges.tokens import LETTER_OR_DIGIT as _L

_MARKS = re.compile(r"[^\w\n]{0,12}")
_END = re.compile(r"[^\w\n?]{0,20}(?:[.!;,\n]|\Z)")
_SPACE = re.compile(r"\s*")
_SENTENCE = re.compile(r"[^.!?。！？\n]*")
_ARTICLE = r"(?:the|an?|der|die|das|eine?|la|les?|une?|el|los|las|una|il|uma?)"
_REASON = re.compile(
    rf"(?:because|since|as|while|whereas|unlike|given|due|so|explanation|reason|reasoning|rationale|weil|denn|"
    rf"parce|porque|perché|потому)(?!{_L})|因为|因為|なぜなら|왜냐하면",
    re.IGNORECASE,
)
_AFFIRMED = re.compile(
    r"(?:i\s(?:think|believe|guess|suppose)|i(?:'d|\swould)\ssay|(?:most\s)?(?:likely|probably)|definitely|clearly|"
    rf"certainly|obviously|yes|correct|right|sure|final(?:\sanswer)?)(?!{_L})",
    re.IGNORECASE,
)
_ABOUT_THE_PICTURE = re.compile(
    rf"(?:(?:in|on|at|from|by|with|to|under|behind|near|based\son|according\sto|looking\sat)\s)?"
    rf"(?:{_ARTICLE}|there|all|both|each|every|no\sother|nothing\selse|none\sof\sthe\sother|im|am|au|dans|en|nel)\s"
    rf"(?!(?:\w+\s){{0,2}}(?:answer|option|choice|possibility|guess|letter|wrong|incorrect|false)(?!{_L}))"
    rf"(?!(?:\w+\s){{1,2}}one[^\w\s]*(?:\Z|\n))\w"
    r"|[图圖画畫]|照片|写真|画像|그림|이미지|사진",
    re.IGNORECASE,
)
"""Begins a statement about the picture: an article or a quantifier. Statements about the option are excluded, as they
may refuse it.
"""
_STATEMENT = re.compile(
    rf"(?!(?:But|However|Perhaps|Maybe|Or|Possibly|Although|Though|Unless|Actually|Wait|Hmm|No|Not)(?!{_L}))"
    rf"(?!(?:It|This|That|They)\s(?:might|could|may)(?!{_L}))"
    rf"(?!(?:\w+\s){{0,2}}(?:answer|option|choice|possibility|guess|letter|wrong|incorrect|false)(?!{_L}))"
    rf"(?:(?:I|We)\s(?:can\s)?(?:clearly\s)?see|(?!(?:I|We)(?!{_L}))[\w'’-]+\s[\w'’-]+)\s\w"
)
"""Begins a sentence of three words or more about anything but the option. After "I" or "we" only "see" is accepted."""
_TAKEN_BACK = re.compile(
    rf"(?:It|This|That)(?:['’]s)?(?:\s\w+)?(?:\s(?:not|never|cannot|ruled|excluded|eliminated)(?!{_L})|n['’]t(?!{_L}))"
)
_BEFORE_SUBJECT = re.compile(
    rf"\A(?:(?:it|this|that|they)(?:['’]s|\s(?:is|are|was|were))\s)?(?:{_ARTICLE}\s)?",
    re.IGNORECASE,
)
_IDEOGRAPH = re.compile(f"[{IDEOGRAPHS}]")
_REFUSING_IDEOGRAPH = re.compile(
    r"[我私不没沒非未否无無错錯違疑]|ない|ませ|아니|아님|않|없|틀|오답|排除"
)
_SPEAKER = re.compile(rf"(?:i|we)(?!{_L})", re.IGNORECASE)


def marks(text: str, at: int) -> str:
    """Return the punctuation at this place, up to the end of the line."""
    match = _MARKS.match(text, at)
    return match[0] if match else ""


def of_speaker(text: str, at: int) -> bool:
    """Return whether a clause with "I" or "we" as its subject begins at this place: "I doubt it"."""
    return _SPEAKER.match(text, at) is not None


@dataclass(frozen=True)
class Wording:
    """The words by which an answer may be explained.

    Attributes:
        own: Folded words that only this answer has.
        others: Folded words that only other answers have.
        negative: The answer is itself a negation, which may be worded in other ways.
    """

    own: Container[str] = frozenset()
    others: Container[str] = frozenset()
    negative: bool = False


def explained(text: str, at: int, wording: Wording = Wording()) -> bool:
    """Return whether the text after an answer, from the punctuation at `at`, supports the answer.

    True when the line ends and the next one does not refuse the answer, or when there follows a reason ("because …"),
    a final affirmation ("I think"), one of the answer's own words, a statement about the picture, a sentence in Chinese,
    Japanese or Korean that does not refuse the answer, or a condition.
    """
    between = marks(text, at)
    at += len(between)
    if at == len(text) or text[at] == "\n":
        next_line = _SPACE.match(text, at)
        return next_line is None or REFUSED.match(text, next_line.end()) is None
    if _REASON.match(text, at):
        return True
    if affirmed := _AFFIRMED.match(text, at):
        return _END.match(text, affirmed.end()) is not None
    sentence = _SENTENCE.match(text, at)
    assert sentence is not None
    named = [t for t in tokenise(sentence[0]) if t.folded in wording.own]
    if not wording.negative and any(_refused(text, at + t.start, at + t.end) for t in named):
        return False
    subject = _BEFORE_SUBJECT.sub("", sentence[0])
    first = next((t.folded for t in tokenise(subject)), "")
    if _ABOUT_THE_PICTURE.match(text, at) and first not in wording.others:
        return True
    if _IDEOGRAPH.match(text, at):
        return _REFUSING_IDEOGRAPH.search(sentence[0]) is None
    if re.search(r"[.)\]。]", between) is None:
        return bool(named) and first == named[0].folded
    if text[at].isupper() and _STATEMENT.match(text, at) and first not in wording.others:
        of_another = any(t.folded in wording.others for t in tokenise(sentence[0]))
        return wording.negative or of_another or _TAKEN_BACK.match(text, at) is None
    if CONDITION.match(text, at):
        return True
    return bool(named) and (wording.negative or not of_speaker(text, at))


def _refused(text: str, start: int, end: int) -> bool:
    return bool(
        NEGATED.search(text, max(0, start - 40), start)
        or DENIED.match(text, end)
        or text[end : end + 1] == "?"
    )
