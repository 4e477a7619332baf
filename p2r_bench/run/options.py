"""The options of `p2r-bench run`, typed: from the command line, or from a table of a sweep file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, PrivateAttr, ValidationError

from p2r_bench.errors import UserError
from p2r_bench.run.images.rendering import DEFAULT_BUDGET
from p2r_bench.run.pairs import resources
from p2r_bench.run.spec import (
    DEFAULT_ENGINE,
    DEFAULT_MODEL,
    AnyPath,
    Launching,
    OnBadRow,
    Pixels,
    Positive,
    Resources,
    TextOrPath,
    Texts,
)
from p2r_bench.run.validation import STRICT, user_error

_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def split(value: Any) -> Any:
    """Return names separated by commas, or in a list, as a tuple; any other value unchanged."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        return value
    return tuple(name for part in parts if (name := part.strip()))


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    number = re.fullmatch(r"\s*([0-9]+)\s*([KMG]iB)\s*", value)
    if number is None:
        raise ValueError("must be a size such as 512MiB or 2GiB")
    return int(number[1]) * _UNITS[number[2]]


def _resources(value: Any) -> Any:
    return resources(value) if isinstance(value, (str, Mapping)) else value


Names = Annotated[Texts, BeforeValidator(split)]
Repeated = Annotated[Texts, BeforeValidator(_listed)]
"""A repeatable option; in a sweep file a list, or one text."""


class Options(BaseModel):
    """One set of options. Fields are the long options of `p2r-bench run` with underscores; see `RunSpec`."""

    model_config = STRICT

    modes: Names = ("p2r",)
    tasks: Names = ()
    model: TextOrPath = DEFAULT_MODEL
    engine: str = DEFAULT_ENGINE
    revision: str | None = None
    engine_args: Repeated = ()
    roles: Repeated = ()
    profile: TextOrPath | None = None
    family: str | None = None
    pixels: Pixels | None = None
    data_dir: AnyPath | None = None
    task_args: Repeated = ()
    mode_args: Repeated = ()
    judge_args: Repeated = ()
    scorer: str | None = None
    out: AnyPath = Path("results")
    seed: int = 0
    repeats: Positive = 1
    limit: Positive | None = None
    on_bad_row: OnBadRow = "stop"
    allow_outside: bool = False
    sample_ids: Repeated = ()
    retry_errors: bool = True
    allow_mixed: bool = False
    canaries: str = "warn"
    in_flight: Positive | None = None
    image_memory: Annotated[Positive, BeforeValidator(_bytes)] = DEFAULT_BUDGET
    launcher: Launching = "local"
    replicas: Positive = 1
    ray_address: str | None = None
    replica_resources: Annotated[Resources | None, BeforeValidator(_resources)] = None

    _place: str = PrivateAttr(default="")

    @classmethod
    def read(cls, values: Mapping[str, Any], place: str = "") -> Options:
        """Check a set of options.

        Args:
            values: By field. None and () mean that the option is unset.
            place: Their source, for messages, such as "sweep.toml: run 2: "; "" for the command line.

        Raises:
            UserError: An unknown option, or a value that is not allowed.
        """
        given = {key: value for key, value in values.items() if value is not None and value != ()}
        try:
            options = cls(**given)
        except ValidationError as error:
            name = str if place else _flag
            raise _prefixed(place, user_error(error, cls.model_fields, name)) from None
        options._place = place
        return options

    def error(self, error: UserError) -> UserError:
        """Return the error with the source of these options in front."""
        return _prefixed(self._place, error)


def option(key: str) -> str:
    """Return the field of `Options` for a key: "engine-arg" and "engine_args" are the same."""
    plurals = {"mode": "modes", "role": "roles", "sample_id": "sample_ids"}
    plurals |= {f"{name}_arg": f"{name}_args" for name in ("engine", "task", "mode", "judge")}
    key = key.replace("-", "_")
    return plurals.get(key, key)


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _prefixed(place: str, error: UserError) -> UserError:
    return UserError(f"{place}{error}")
