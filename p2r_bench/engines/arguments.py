"""`--engine-arg name=value` pairs as a typed dataclass: unknown names and bad values are refused."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import field, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError, create_model

from p2r_bench.errors import UserError
from p2r_bench.validation import expected

T = TypeVar("T")

_CONFIG = ConfigDict(str_strip_whitespace=True, str_min_length=1, allow_inf_nan=False)


def argument(
    default: Any, help: str, *, least: float | None = None, automatic: bool = False
) -> Any:
    """A field of an arguments dataclass.

    Args:
        least: Lower bound of a number.
        automatic: None lets the engine choose the value.
    """
    metadata = {"help": help, "least": least, "automatic": automatic}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def read_arguments(kind: type[T], pairs: Mapping[str, str], engine: str) -> T:
    """Return an instance of the dataclass `kind` from text pairs.

    A field is a bool, int, float, str or Literal, a tuple of strings (comma-separated), `Mapping[str, Any]` (a JSON
    object) or `Mapping[str, str]` (a JSON object, or K=V,K=V), or one of these `| None`. Declare it with
    `argument(...)`.

    Raises:
        UserError: A name is unknown, or a value is not of the field's type. The message lists the known names.
    """
    hints = get_type_hints(kind)
    known: dict[str, Any] = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for name in pairs.keys() - known.keys():
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        listing = "\n".join(f"  {line}" for line in describe(kind))
        raise UserError(f"The {engine} engine has no argument {name!r}.{hint} It knows:\n{listing}")
    definitions: dict[str, Any] = {
        name: (
            Annotated[
                hints[name], Field(ge=known[name].metadata["least"]), _from_text(hints[name])
            ],
            ...,
        )
        for name in pairs
    }
    try:
        read = create_model(kind.__name__, __config__=_CONFIG, **definitions)(**pairs)
    except ValidationError as error:
        finding = error.errors()[0]
        name, *inner = map(str, finding["loc"])
        place = "".join(f"[{key}] " for key in inner)
        raise UserError(f"--engine-arg {name}={pairs[name]}: {place}{expected(finding)}.") from None
    return kind(**{name: getattr(read, name) for name in pairs})


def describe(kind: type) -> list[str]:
    """Return one line per argument: name, type, default and purpose."""
    hints = get_type_hints(kind)
    shown = [(f, getattr(kind(), f.name)) for f in fields(kind)]
    return [
        f"{f.name} ({_type_name(hints[f.name])}, default {_default(f.metadata, value)}): {f.metadata['help']}"
        for f, value in shown
    ]


def _default(metadata: Mapping[str, Any], value: Any) -> str:
    if value is None or value in ((), {}):
        return "automatic" if metadata["automatic"] else "none"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


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


def _from_text(hint: Any) -> Any:
    """Return the function that converts a text before pydantic checks the value."""

    def convert(text: str) -> Any:
        inner = _inner(hint)
        value: Any = text.strip()
        if get_origin(inner) is tuple:
            value = [part for part in text.split(",") if part.strip()] or None
        elif get_origin(inner) is Mapping:
            value = _mapping(value, get_args(inner)[1])
        if value is None:
            raise ValueError(f"must be a {_type_name(hint)}")
        return value

    return BeforeValidator(convert)


def _mapping(text: str, values: Any) -> Any:
    if values is str and not text.startswith("{"):
        pairs = [part.partition("=") for part in text.split(",") if part.strip()]
        named = all(name.strip() and sign for name, sign, _ in pairs)
        return {name.strip(): value.strip() for name, _, value in pairs} if named else None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
