"""Reading of a choice question's options: from a list of strings or one text, with or without letters."""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from p2r_bench.tasks.fields import LETTER, Row, plain_text, shown

_OPEN, _CLOSE, _POINT = r"[(（\[［]", r"[)）\]］]", r"[.．:：、)）]"
_SPACE = r"[\s\u200b-\u200f\u2060\ufeff]*"  # zero-width characters included
_IN_BRACKETS = re.compile(rf"{_SPACE}{_OPEN}\s*({LETTER})\s*{_CLOSE}\s*[.．:：]?\s*(.*)", re.DOTALL)
_WITH_POINT = re.compile(rf"{_SPACE}({LETTER})\s*{_POINT}\s*(.*)", re.DOTALL)
_BARE = re.compile(rf"\s*({LETTER})\s+(\S.*)", re.DOTALL)
_INITIALS = re.compile(rf"{_SPACE}(?:[A-Z]\.){{2,}}")
_MARK = re.compile(rf"\s*[(（]\s*({LETTER})\s*[)）]\s*")
_LOOK_ALIKES = str.maketrans("АВСЕНΑΒΕΗ", "ABCEHABEH")
_FOREIGN = re.compile(rf"{_SPACE}{_OPEN}\s*([Ͱ-ϿЀ-ӿ])\s*{_CLOSE}\s*(.*)", re.DOTALL)

REPEATED = " / "
"""Separator of the texts of options that share a letter."""


@dataclass(frozen=True)
class Options:
    """Options read from a row.

    Attributes:
        texts: Texts by letter, in the order stored. Options that share a letter share an entry.
        repeated: Letters that more than one option carries.
        stored: The strings as the published evaluation sends them, one per line.
    """

    texts: dict[str, str]
    repeated: tuple[str, ...]
    stored: tuple[str, ...]


@dataclass(frozen=True)
class _Label:
    letter: str
    text: str
    in_brackets: bool


def read_options(row: Row, field: str, answer: str) -> Options:
    """Read options and their letters from a list of strings, its JSON text, or a text with an option per line.

    Letters are read if all options carry one, or all but continuation lines. A letter followed by a point counts only
    in alphabetical order and if no option begins with initials, because "A.M." and "C. elegans" look alike. Bracketed
    Cyrillic and Greek letters count as their Latin look-alikes if every option then has a letter; otherwise they are
    dropped from the text. Without letters, an option gets the letter of its position. Case and width of letters do not
    matter.

    Args:
        answer: Field with the right letter. It decides if a string without a letter is a separate option.

    Raises:
        UserError: Another type, fewer than two letters, or letters that contradict the order.
    """
    value = row.values.get(field)
    parts, lines = _parts(row, field, value)
    if len(parts) < 2:
        raise row.error(field, f"{shown(value)} where two or more options should be")
    if len(parts) > len(ascii_uppercase):
        raise row.error(field, f"{len(parts)} options, which is more than there are letters")
    labels = _with_letters(_latin(parts), _letter_of(row.values.get(answer)), lines=lines)
    if labels is None:
        labels = _by_place(_latin(parts))
    if labels is None:
        raise row.error(
            field,
            f"{shown(value)}: the letters are neither in order nor those of the positions; write (A), (B), … before the options",
        )
    texts: dict[str, str] = {}
    repeated: dict[str, None] = {}
    for label in labels:
        text = label.text.strip()
        if label.letter in texts:
            repeated[label.letter] = None
            text = f"{texts[label.letter]}{REPEATED}{text}"
        texts[label.letter] = text
    if len(texts) < 2:
        raise row.error(field, f"{shown(value)}: all options have the letter {next(iter(texts))}")
    stored = (str(value),) if lines else tuple(parts)
    return Options(texts, tuple(repeated), stored)


def labelled(options: Mapping[str, str]) -> bool:
    """Return True if the text of every option begins with the option's own letter, as in "A. red" under A."""
    labels = {letter: _label(text) for letter, text in options.items()}
    return bool(labels) and all(
        label is not None and label.letter == letter for letter, label in labels.items()
    )


def split_marked(text: str) -> tuple[str, dict[str, str]] | None:
    """Split "QUESTION (A) … (B) …" into question and options; None if the marks at the end are not (A), (B), ….

    Earlier marks belong to the question.
    """
    marks = list(_MARK.finditer(text))
    letters = "".join(_plain_letter(mark[1]) for mark in marks)
    for first in range(len(marks) - 1):
        if ascii_uppercase.startswith(letters[first:]):
            ends = [*(mark.start() for mark in marks[first + 1 :]), len(text)]
            options = {
                _plain_letter(mark[1]): text[mark.end() : end].strip()
                for mark, end in zip(marks[first:], ends, strict=True)
            }
            return text[: marks[first].start()].strip(), options
    return None


def _parts(row: Row, field: str, value: object) -> tuple[list[str], bool]:
    """Return the strings of a field, and True if they are the lines of one text."""
    if isinstance(value, str) and value.strip():
        written = _written_list(value)
        if written is None:
            return [line for line in value.splitlines() if line.strip()], True
        value = written
    if not isinstance(value, list):
        raise row.error(field, f"{shown(value)} where a list of options should be")
    parts = []
    for one in value:
        text = plain_text(one)
        if text is None:
            raise row.error(field, f"{shown(one)} where an option's text should be")
        parts.append(text)
    return parts, False


def _written_list(text: str) -> list[object] | None:
    """Return the list in a text of JSON or Python's notation, or None."""
    if not text.strip().startswith("["):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(value, list):
            return value
    return None


def _with_letters(parts: Sequence[str], answer: str | None, *, lines: bool) -> list[_Label] | None:
    """Return the options by their own letters, or None if these are unreliable."""
    labels = [_label(part) for part in parts]
    found = [label for label in labels if label is not None]
    letters = "".join(label.letter for label in found)
    in_order = _in_order(letters)
    if any(_INITIALS.match(part) for part in parts) and not all(x.in_brackets for x in found):
        return None
    if len(found) == len(parts):
        return found if in_order or all(label.in_brackets for label in found) else None
    if in_order and labels[0] is not None and len(set(letters)) > 1 and answer in set(letters):
        misplaced = any(
            label is not None and label.letter != place
            for label, place in zip(labels, ascii_uppercase, strict=False)
        )
        if lines or misplaced or all(label.in_brackets for label in found):
            return _continued(parts, labels)
    if lines:
        bare = [match for part in parts if (match := _BARE.fullmatch(part)) is not None]
        if len(bare) == len(parts) and _in_order("".join(match[1] for match in bare)):
            return [_Label(match[1], match[2], False) for match in bare]
    return None


def _latin(parts: Sequence[str]) -> list[str]:
    """Return the options, with labels of another script replaced by Latin letters.

    Cyrillic and Greek labels become the Latin letters that they look like, if every option then has one. Otherwise
    bracketed foreign letters are dropped from the text.
    """
    labels = [_IN_BRACKETS.fullmatch(part) or _FOREIGN.fullmatch(part) for part in parts]
    if not all(labels):
        return list(parts)
    letters = [match[1] if match else "" for match in labels]
    latin = [letter.translate(_LOOK_ALIKES) for letter in letters]
    if not all(re.fullmatch(LETTER, letter) for letter in latin):
        latin = list(ascii_uppercase[: len(parts)])
        pairs = zip(letters, latin, strict=True)
        if any(re.fullmatch(LETTER, own) and _plain_letter(own) != place for own, place in pairs):
            return list(parts)
    texts = [match[2] if match else "" for match in labels]
    return [f"({letter}) {text}" for letter, text in zip(latin, texts, strict=True)]


def _continued(parts: Sequence[str], labels: Sequence[_Label | None]) -> list[_Label]:
    """Return the labelled options. A string without a label is a further line of the option before it."""
    joined: list[_Label] = []
    for part, label in zip(parts, labels, strict=True):
        if label is not None:
            joined.append(label)
        else:
            last = joined[-1]
            joined[-1] = _Label(last.letter, f"{last.text}\n{part}", last.in_brackets)
    return joined


def _by_place(parts: Sequence[str]) -> list[_Label] | None:
    """Return the options by position. A bracketed letter is dropped from the text, and must be that of the position."""
    placed = []
    for place, part in zip(ascii_uppercase, parts, strict=False):
        label = _label(part)
        if label is not None and label.in_brackets:
            if label.letter != place:
                return None
            placed.append(label)
        else:
            placed.append(_Label(place, part, False))
    return placed


def _label(part: str) -> _Label | None:
    for pattern in (_IN_BRACKETS, _WITH_POINT):
        if match := pattern.fullmatch(part):
            return _Label(_plain_letter(match[1]), match[2], pattern is _IN_BRACKETS)
    return None


def _in_order(letters: str) -> bool:
    """Return True for A, B, C, …, with repeats allowed."""
    distinct = "".join(dict.fromkeys(letters))
    return (
        bool(letters) and sorted(letters) == list(letters) and ascii_uppercase.startswith(distinct)
    )


def _letter_of(value: object) -> str | None:
    label = _label(value) if isinstance(value, str) else None
    if label is not None:
        return label.letter
    text = value.strip() if isinstance(value, str) else ""
    return _plain_letter(text) if re.fullmatch(LETTER, text) else None


def _plain_letter(letter: str) -> str:
    return unicodedata.normalize("NFKC", letter).upper()
