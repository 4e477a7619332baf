"""The options of `p2r-bench run`, checked: from the command line, or from a table of a sweep file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from p2r_bench.errors import UserError
from p2r_bench.run.settings import RunOptions
from p2r_bench.validation import STRICT, user_error


@dataclass(frozen=True, config=STRICT)
class Options(RunOptions):
    """One set of options. Fields are the long options of `p2r-bench run` with underscores."""

    _place: ClassVar[str] = ""

    @classmethod
    def read(cls, values: Mapping[str, Any], place: str = "") -> Options:
        """Check a set of options.

        Args:
            values: Option values by field. None and () mean that the option is unset.
            place: Source of the options, for messages, such as "sweep.toml: run 2: "; "" for the command line.

        Raises:
            UserError: An unknown option, or a value that is not allowed.
        """
        given: dict[str, Any] = {
            key: (value,) if key in _REPEATABLE and isinstance(value, str) else value
            for key, value in values.items()
            if value is not None and value != ()
        }
        try:
            options = cls(**given)
        except ValidationError as error:
            name = str if place else _flag
            known = [field.name for field in dataclasses.fields(cls)]
            raise UserError(f"{place}{user_error(error, known, name)}") from None
        object.__setattr__(options, "_place", place)
        return options

    def error(self, error: UserError) -> UserError:
        """Return the error with the source of these options in front."""
        return UserError(f"{self._place}{error}")


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


_OPTION = {f.name: f.metadata["json_schema_extra"] for f in dataclasses.fields(RunOptions)}
_REPEATABLE = {name for name, option in _OPTION.items() if "multiple" in option}
_FIELDS = {
    option["flag"].removeprefix("--").replace("-", "_"): name
    for name, option in _OPTION.items()
    if "flag" in option
}


def option(key: str) -> str:
    """Return the field of `Options` for a key: "engine-arg" and "engine_args" are the same."""
    key = key.replace("-", "_")
    return _FIELDS.get(key, key)
