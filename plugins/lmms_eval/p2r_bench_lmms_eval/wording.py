"""Separation of question, options and instruction in the text of a prompt."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any

from p2r_bench.types import AnswerForm

_OPTION = re.compile(r"\s*(?:\(([A-Z])\)|([A-Z])[.):])\s+(\S.*?)\s*")
_HEADER = re.compile(
    r"\s*(?:the )?(?:options|choices)(?: are)?(?: listed below)?\s*:?\s*", re.IGNORECASE
)
_ASKS_LETTER = re.compile(r"\b(?:letter|option|choice)s?\b", re.IGNORECASE)
_ASKS_WORD = re.compile(r"\bsingle word\b|\bone word\b", re.IGNORECASE)
_ASKS_YES_NO = re.compile(r"\byes\b.{0,12}\bno\b", re.IGNORECASE)
_LETTER = re.compile(r"\s*\(?([A-Za-z])\)?\s*\.?\s*")


@dataclass(frozen=True)
class Wording:
    """Parts of a prompt.

    Attributes:
        question: The text without the recognised options and instruction.
        instruction: The text removed in addition to the options.
    """

    question: str
    answer: str
    form: AnswerForm
    options: Mapping[str, str] = field(default_factory=dict)
    instruction: str = ""


def worded(text: str, bare: str, target: Any) -> Wording:
    """Return question, options, answer form and instruction of a document.

    It is a choice when lettered option lines stand one below the other and the target is one of them; "yes or
    no" and "single word" when the instruction says so and the target agrees. Any other document has a free answer, and
    its question is the unchanged text.

    Args:
        text: The prompt of lmms-eval.
        bare: The prompt without the texts that the task's file puts before and after the question.
        target: The document's target.
    """
    answer = target if isinstance(target, str | int | float) else None
    instruction = _removed(text, bare)
    if answer is not None and (choice := _choice(bare, instruction, answer)) is not None:
        return choice
    plain = str(answer).strip()
    if instruction and plain.lower() in ("yes", "no") and _ASKS_YES_NO.search(text):
        return Wording(bare.strip(), plain.capitalize(), "yes_no", instruction=instruction)
    if instruction and isinstance(answer, str) and _ASKS_WORD.search(instruction):
        return Wording(bare.strip(), plain, "word", instruction=instruction)
    return Wording(text.strip(), plain if answer is not None else _json(target), "free")


def _removed(text: str, bare: str) -> str:
    """Return `text` without its part `bare`; "" where `bare` does not stand in it."""
    before, found, after = text.partition(bare)
    return " ".join(part.strip() for part in (before, after) if part.strip()) if found else ""


def _choice(bare: str, instruction: str, target: str | float) -> Wording | None:
    lines = bare.splitlines()
    start = next((i for i, line in enumerate(lines) if _letter_of(line) == "A"), None)
    if start is None:
        return None
    options: dict[str, str] = {}
    for line in lines[start:]:
        letter = ascii_uppercase[len(options)]
        if _letter_of(line) != letter:
            break
        options[letter] = _OPTION.fullmatch(line)[3]  # type: ignore[index]
    rest = "\n".join(lines[start + len(options) :]).strip()
    answer = _target_letter(target, options)
    if len(options) < 2 or answer is None or (rest and not _ASKS_LETTER.search(rest)):
        return None
    question = lines[:start]
    if question and _HEADER.fullmatch(question[-1]):
        question.pop()
    asked = " ".join(filter(None, (rest, instruction)))
    return Wording("\n".join(question).strip(), answer, "choice", options, asked)


def _letter_of(line: str) -> str | None:
    match = _OPTION.fullmatch(line)
    return (match[1] or match[2]) if match else None


def _target_letter(target: str | float, options: Mapping[str, str]) -> str | None:
    """Return the letter that a target means: a letter, an option's text, or its number from 0."""
    if isinstance(target, int) and not isinstance(target, bool) and 0 <= target < len(options):
        return list(options)[target]
    match = _LETTER.fullmatch(str(target))
    if match is not None and match[1].upper() in options:
        return match[1].upper()
    same = [letter for letter, text in options.items() if text == str(target).strip()]
    return same[0] if len(same) == 1 else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
