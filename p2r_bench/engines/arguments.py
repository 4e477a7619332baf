"""`--engine-arg name=value` pairs as a typed dataclass: unknown names and bad values are refused."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from p2r_bench.errors import UserError

T = TypeVar("T")

_TRUE, _FALSE = ("yes", "true", "1", "on"), ("no", "false", "0", "off")


def argument(
    default: Any, help: str, *, least: float | None = None, automatic: bool = False
) -> Any:
    """A field of an arguments dataclass.

    Args:
        least: Lower bound of a number.
        automatic: None stands for a value that the engine chooses.
    """
    metadata = {"help": help, "least": least, "automatic": automatic}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def read_arguments(kind: type[T], pairs: Mapping[str, str], engine: str) -> T:
    """An instance of the dataclass `kind` from text pairs.

    A field is a string, int, float, bool, a Literal of strings, a tuple of strings (separated by
    commas), a `Mapping[str, Any]` (a JSON object) or a `Mapping[str, str]` (the same, or K=V separated by
    commas), or one of them or None, made with `argument`.

    Raises:
        UserError: A name is unknown, or a value is not of the field's type. Names the known ones.
    """
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, text in pairs.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            listing = "\n".join(f"  {line}" for line in describe(kind))
            raise UserError(
                f"The {engine} engine has no argument {name!r}.{hint} It knows:\n{listing}"
            )
        try:
            values[name] = _convert(text, hints[name], known[name].metadata.get("least"))
        except ValueError as error:
            raise UserError(f"--engine-arg {name}={text}: expected {error}.") from None
    return kind(**values)


def describe(kind: type) -> list[str]:
    """One line per argument: name, type, default and what it is for."""
    hints = get_type_hints(kind)
    return [
        f"{f.name} ({_type_name(hints[f.name])}, default {_default(f)}): {f.metadata['help']}"
        for f in fields(kind)
    ]


def _default(field: Field[Any]) -> str:
    value = None if field.default is MISSING else field.default
    if field.default_factory is not MISSING:
        value = field.default_factory()
    if value is None or value in ((), {}):
        return "automatic" if field.metadata.get("automatic") else "none"
    return (
        {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    )


def _inner(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        return next(part for part in get_args(hint) if part is not NoneType)
    return hint


def _type_name(hint: Any) -> str:
    hint = _inner(hint)
    if get_origin(hint) is Literal:
        return "|".join(get_args(hint))
    if get_origin(hint) is tuple:
        return "list separated by commas"
    if get_origin(hint) is Mapping:
        return (
            "JSON object" if get_args(hint)[1] is Any else "JSON object, or K=V separated by commas"
        )
    return {bool: "yes|no", int: "integer", float: "number", str: "text"}[hint]


def _convert(text: str, hint: Any, least: float | None) -> Any:
    """Raises ValueError whose text says what was expected."""
    hint = _inner(hint)
    word = text.strip()
    if get_origin(hint) is Literal:
        if word not in get_args(hint):
            raise ValueError(f"one of {', '.join(get_args(hint))}")
        return word
    if get_origin(hint) is tuple:
        parts = tuple(part.strip() for part in text.split(",") if part.strip())
        if not parts:
            raise ValueError("a list separated by commas")
        return parts
    if get_origin(hint) is Mapping:
        return _mapping(word, hint)
    if hint is bool:
        if word.lower() not in _TRUE + _FALSE:
            raise ValueError("yes or no")
        return word.lower() in _TRUE
    if hint is str:
        if not word:
            raise ValueError("some text")
        return word
    try:
        number = hint(word)
    except ValueError:
        raise ValueError(f"a{'n' if hint is int else ''} {_type_name(hint)}") from None
    if number != number or (least is not None and number < least):
        raise ValueError(f"a number of at least {least}")
    return number


def _mapping(word: str, hint: Any) -> dict[str, Any]:
    texts_only = get_args(hint)[1] is str
    if texts_only and not word.startswith("{"):
        pairs = [part.partition("=") for part in word.split(",") if part.strip()]
        if not pairs or not all(name.strip() and sign for name, sign, _ in pairs):
            raise ValueError(f"a {_type_name(hint)}")
        return {name.strip(): value.strip() for name, _, value in pairs}
    try:
        value = json.loads(word)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"a {_type_name(hint)}")
    if texts_only and not all(isinstance(item, str) for item in value.values()):
        raise ValueError("a JSON object whose values are strings")
    return value
