"""Conversion of pydantic's errors to a UserError that names the key, the value and the allowed values."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError

from p2r_bench.errors import UserError

STRICT = ConfigDict(strict=True, extra="forbid")
"""Refuse unknown keys and values of other types: "no" is no bool, "3" is no number."""

_EXPECTED = {
    "bool_parsing": "yes or no",
    "bool_type": "true or false",
    "dict_type": "a table of names and values",
    "float_type": "a number",
    "int_type": "a whole number",
    "mapping_type": "a table of names and values",
    "is_instance_of": "a path",
    "string_too_short": "some text",
    "string_type": "text",
    "tuple_type": "a list of texts",
}
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


def user_error(
    error: ValidationError, known: Iterable[str], name: Callable[[str], str] = str
) -> UserError:
    """Return pydantic's errors as one UserError with a line for each.

    Args:
        known: Keys to list in the error for an unknown one.
        name: Function from a key to its name for users, such as "--limit".
    """
    known = sorted(known)
    return UserError("\n  ".join(_line(finding, known, name) for finding in error.errors()))


def _line(finding: Any, known: Sequence[str], name: Callable[[str], str]) -> str:
    key, *inner = (str(part) for part in finding["loc"])
    if finding["type"] in _UNKNOWN:
        close = " or ".join(difflib.get_close_matches(key, known, n=2))
        hint = f"did you mean {close}? " if close else ""
        return f"{name(key)}: no such option; {hint}known are {', '.join(known)}"
    if finding["type"] == "missing":
        return f"{name(key)}: missing"
    place = "".join(f"[{part}]" for part in inner)
    return f"{name(key)}{place} = {_shown(finding['input'])}: {expected(finding)}"


def expected(finding: Any) -> str:
    """Return the condition that a value violated, from one of pydantic's findings: "must be at least 1"."""
    kind, context = finding["type"], finding.get("ctx", {})
    if kind in _EXPECTED:
        return f"must be {_EXPECTED[kind]}"
    if kind == "literal_error":
        return f"must be {context['expected'].replace(chr(39), '')}"
    if kind == "greater_than_equal":
        return f"must be at least {context['ge']:g}"
    if kind == "dataclass_exact_type":
        return f"must be an instance of {context['class_name']}"
    text: str = finding["msg"].removeprefix("Value error, ").replace("Input should", "must")
    return text


def _shown(value: object) -> str:
    if isinstance(value, Path):
        value = str(value)
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)
