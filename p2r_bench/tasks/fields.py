"""Validated fields of a row. Every error names the file, the row and the field."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.types import Box

LETTER = "[A-Za-zＡ-Ｚａ-ｚ]"
"""Pattern of an option's letter, including full-width letters."""
_ANSWER = re.compile(rf"[(（]?\s*({LETTER})\s*(?:[)）]?\s*[.．:：]?)?\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Row:
    """One row of a file, without its image. `number` counts from 0; it is None for a file that holds a single row."""

    file: Path
    number: int | None
    values: Mapping[str, Any]

    def error(self, field: str, problem: str) -> UserError:
        """Return a UserError about a field of this row."""
        row = "" if self.number is None else f", row {self.number}"
        return UserError(f"{self.file}{row}, {field}: {problem}")

    def text(self, field: str) -> str:
        """Return a non-empty text, stripped.

        Raises:
            UserError: Any other value.
        """
        value = self.values.get(field)
        if not isinstance(value, str) or not value.strip():
            raise self.error(field, f"{shown(value)} where text should be")
        return value.strip()

    def key(self, field: str) -> str:
        """Return a whole number or a text, as text.

        Raises:
            UserError: Any other value.
        """
        value = self.values.get(field)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
            raise self.error(field, f"{shown(value)} where a number or a name should be")
        return str(value).strip()

    def optional(self, field: str) -> str | None:
        """Return a text or a number as text, None for null and NaN.

        Raises:
            UserError: Any other value.
        """
        value = self.values.get(field)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        text = plain_text(value)
        if text is None:
            raise self.error(field, f"{shown(value)} where text should be")
        return text.strip()

    def letter(self, field: str, options: Mapping[str, str]) -> str:
        """Return the letter of one of `options`; "b", "(B)", "B." and "B. TEXT OF B" are read as "B".

        Raises:
            UserError: The value is none of the options.
        """
        value = self.text(field)
        if match := _ANSWER.fullmatch(value):
            letter = unicodedata.normalize("NFKC", match[1]).upper()
            if letter in options and match[2] in ("", options[letter]):
                return letter
        raise self.error(field, f"{value!r} is not one of the options {', '.join(options)}")

    def boxes(self, field: str = "boxes") -> tuple[Box, ...] | None:
        """Return ground-truth boxes in thousandths; None if the row lacks the field.

        The field is a list or its JSON text. A box is [x1, y1, x2, y2] or `{"bbox_2d": [x1, y1, x2, y2], "label":
        "…"}`.

        Raises:
            UserError: Any other value.
        """
        value = self.values.get(field)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise self.error(field, f"not JSON: {error}") from error
        if value is None:
            return None
        if not isinstance(value, Sequence):
            raise self.error(field, f"{shown(value)} where a list of boxes should be")
        return tuple(self._box(field, entry) for entry in value)

    def _box(self, field: str, entry: object) -> Box:
        sides, label = entry, None
        if isinstance(entry, Mapping):
            sides, label = entry.get("bbox_2d"), entry.get("label")
        if not (isinstance(sides, list) and len(sides) == 4 and all(map(is_number, sides))):
            raise self.error(field, f"{shown(entry)} where x1, y1, x2, y2 should be")
        x1, y1, x2, y2 = map(float, sides)
        if not (x1 < x2 and y1 < y2):
            raise self.error(field, f"{shown(entry)}: x1 < x2 and y1 < y2 do not hold")
        return Box((x1, y1, x2, y2), None if label is None else str(label))


def plain_text(value: object) -> str | None:
    """Return a text unchanged, a number (2.0 as "2") or a boolean as text, None for any other value."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        value = int(value) if value.is_integer() else value
    return str(value) if isinstance(value, str | int | float) else None


def is_number(value: object) -> bool:
    """Return True for an int or float, not a boolean, that is finite as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def shown(value: object) -> str:
    """Return a value for a message, shortened to 60 characters."""
    try:
        text = "nothing" if value is None else repr(value)
    except (ValueError, RecursionError):  # fails on thousands of digits or of brackets
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
