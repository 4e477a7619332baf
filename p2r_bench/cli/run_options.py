"""Options of a command, from the fields of a settings class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import click

from p2r_bench.cli.completion import Completer

Command = TypeVar("Command", bound=Callable[..., Any])


def options_of(kind: Any, complete: Mapping[str, Completer]) -> Callable[[Command], Command]:
    """Return the decorator that adds an option for each field of a settings class.

    Args:
        kind: A dataclass whose fields are made with `run.settings.setting`.
        complete: Field to the completion of its values.
    """
    hints = get_type_hints(kind)
    own_first = sorted(fields(kind), key=lambda field: field.name not in kind.__annotations__)

    def decorate(command: Command) -> Command:
        for field in reversed(own_first):
            option = {
                "help": field.metadata["description"],
                "default": None if field.default == () else field.default,
                "type": _type(hints[field.name], field.metadata["ge"]),
                "is_flag": hints[field.name] is bool,
                "shell_complete": complete.get(field.name),
                **field.metadata["json_schema_extra"],
            }
            flag = option.pop("flag", f"--{field.name.replace('_', '-')}")
            shown = option["default"] is not None and option["default"] is not False
            command = click.option(flag, field.name, show_default=shown, **option)(command)
        return command

    return decorate


def _type(hint: Any, least: int | None) -> Any:
    """Return click's type for a field's type; None for text, and for the flag of a bool."""
    if get_origin(hint) in (Union, UnionType):
        hint = next(part for part in get_args(hint) if part is not NoneType)
    if hint is Path:
        return click.Path(path_type=Path)
    if hint is int:
        return click.INT if least is None else click.IntRange(least)
    return click.Choice(get_args(hint)) if get_origin(hint) is Literal else None
