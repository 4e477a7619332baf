"""Values of a TOML file as typed dataclasses: unknown keys and values of another type are refused by name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from p2r_bench.errors import UserError

T = TypeVar("T")


def read(kind: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """An instance of the dataclass `kind`.

    Fields are of str, int, float, bool, Path, a Literal, another such dataclass, tuple[X, ...], Mapping[str, X]
    or one of them or None; `Any` is taken as it is. A field's metadata may hold `least` and `more_than`, bounds
    of a number.

    Args:
        where: Dotted name of the table, for messages.

    Raises:
        UserError: A key is unknown, missing, or has a value of another type.
    """
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f", did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
            raise UserError(f"{_dotted(where, key)}: no such key{hint}")
    read_values: dict[str, Any] = {}
    for name, field in known.items():
        if name in values:
            dotted = _dotted(where, name)
            read_values[name] = value = _value(hints[name], values[name], dotted)
            _check_bounds(value, field.metadata, dotted)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise UserError(f"{_dotted(where, name)}: missing")
    return kind(**read_values)


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, UnionType):
        (inner,) = [a for a in args if a is not NoneType]
        return None if value is None else _value(inner, value, where)
    if origin is Literal:
        if value not in args:
            raise _wrong(where, f"one of {', '.join(map(repr, args))}", value)
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong(where, "a list", value)
        return tuple(_value(args[0], item, f"{where}[{n}]") for n, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(where, "a table", value)
        return {str(k): _value(args[1], v, _dotted(where, k)) for k, v in value.items()}
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _wrong(where, "a table", value)
        return read(hint, value, where)  # type: ignore[arg-type]
    return _plain(hint, value, where)


def _plain(hint: Any, value: Any, where: str) -> Any:
    if hint is Path and isinstance(value, (str, Path)):
        return Path(value)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise _wrong(where, "a finite number", value)
        return float(value)
    if type(value) is not hint:
        names = {
            str: "text",
            int: "an integer",
            float: "a number",
            bool: "true or false",
            Path: "a path",
        }
        raise _wrong(where, names[hint], value)
    return value


def _check_bounds(value: Any, bounds: Mapping[str, Any], where: str) -> None:
    if value is None:
        return
    if "least" in bounds and value < bounds["least"]:
        raise _wrong(where, f"at least {bounds['least']}", value)
    if "most" in bounds and value > bounds["most"]:
        raise _wrong(where, f"at most {bounds['most']}", value)
    if "more_than" in bounds and value <= bounds["more_than"]:
        raise _wrong(where, f"more than {bounds['more_than']}", value)


def _dotted(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _wrong(where: str, wanted: str, value: object) -> UserError:
    return UserError(f"{where} = {value!r}: expected {wanted}")
