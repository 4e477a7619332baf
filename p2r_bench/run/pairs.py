"""Options of the form NAME=VALUE, some with a scope: a mode, a task, a role or a scorer."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from p2r_bench.errors import UserError

Params = dict[str, Any]


def pairs(option: str, texts: Iterable[str]) -> Params:
    """Read NAME=VALUE texts; numbers, true and false are converted.

    Raises:
        UserError: A text without a name or "=".
    """
    found: Params = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UserError(f"{option} {text!r}: write it as name=value")
        found[key] = _value(value)
    return found


def scoped(option: str, kind: str, texts: Iterable[str], names: Sequence[str]) -> dict[str, Params]:
    """Read NAME=VALUE texts, for all of `names`, and SCOPE:NAME=VALUE, for one of them.

    Args:
        kind: The kind of the names, for messages: "mode" or "task".

    Returns:
        Each name with its parameters; a scoped value wins.

    Raises:
        UserError: An unknown scope, or a text without a name or "=".
    """
    shared: Params = {}
    own: dict[str, Params] = {name: {} for name in names}
    for text in texts:
        key, equals, value = text.partition("=")
        scope, colon, name = key.rpartition(":")
        if not equals or not name:
            raise UserError(
                f"{option} {text!r}: write it as name=value or {kind.upper()}:name=value"
            )
        if colon and scope not in own:
            raise UserError(
                f"{option} {text!r}: this run has no {kind} {scope!r}; it has {', '.join(names)}"
            )
        (own[scope] if colon else shared)[name] = _value(value)
    return {name: {**shared, **params} for name, params in own.items()}


def engine_args(texts: Iterable[str]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Return the arguments of all engines, and those of single roles' engines by role; values stay text.

    Raises:
        UserError: A text without a name or "=".
    """
    shared: dict[str, str] = {}
    per_role: dict[str, dict[str, str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        role, colon, name = key.rpartition(":")
        if not equals or not name:
            raise UserError(f"--engine-arg {text!r}: write it as name=value or ROLE:name=value")
        target = per_role.setdefault(role, {}) if colon else shared
        target[name] = value
    return shared, per_role


def role(text: str, known: Sequence[str]) -> tuple[str, tuple[str | None, str | None]]:
    """Read ROLE=MODEL@ENGINE: the role, its model and its engine. Model or engine may be missing.

    Raises:
        UserError: A text of another form, or an unknown role.
    """
    name, equals, rest = text.partition("=")
    model, at, engine = rest.rpartition("@")
    if not at:
        model, engine = rest, ""
    if not equals or name not in known or not (model or engine):
        raise UserError(
            f"--role {text!r}: write it as ROLE=MODEL, ROLE=MODEL@ENGINE or ROLE=@ENGINE, "
            f"with a role of {', '.join(known)}"
        )
    return name, (model or None, engine or None)


def judge_params(texts: Iterable[str]) -> dict[str, Params]:
    """Read SCORER:NAME=VALUE texts: the parameters of each scorer's judge.

    Raises:
        UserError: A text of another form.
    """
    params: dict[str, Params] = {}
    for text in texts:
        scorer, colon, pair = text.partition(":")
        if not colon:
            raise UserError(f"--judge-arg {text!r}: write it as SCORER:name=value")
        params.setdefault(scorer, {}).update(pairs("--judge-arg", [pair]))
    return params


def changes_of(texts: Iterable[str]) -> list[Params]:
    """Read FIELD=V,V texts: every combination of the fields' values, the last field's changing fastest.

    Values are TOML, or plain text where they are not.

    Raises:
        UserError: A text has another form, or a field is given twice.
    """
    choices: dict[str, list[Any]] = {}
    for text in texts:
        field, equals, values = text.partition("=")
        if not (field and equals and values):
            raise UserError(f"--set {text!r}: write it as FIELD=VALUE or FIELD=VALUE,VALUE")
        if field in choices:
            raise UserError(f"--set {text!r}: {field} is given twice; separate values by commas")
        choices[field] = _toml_values(values)
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def _toml_values(text: str) -> list[Any]:
    try:
        found: list[Any] = tomllib.loads(f"values = [{text}]")["values"]
    except tomllib.TOMLDecodeError:
        return text.split(",")
    return found


def resources(value: str | Mapping[str, Any]) -> dict[str, float]:
    """Return amounts by resource, from a table or from "GPU=1,CPU=4".

    Raises:
        ValueError: An amount is negative or not a finite number.
    """
    if isinstance(value, str):
        texts = (pair.strip().partition("=") for pair in value.split(","))
        value = {name: _value(amount) for name, _, amount in texts}
    for name, amount in value.items():
        if not name or type(amount) not in (int, float) or not 0 <= amount < math.inf:
            raise ValueError("must be amounts such as GPU=1,CPU=4")
    return dict(value)


def _value(text: str) -> int | float | bool | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)
