"""Specification of one run, validated on creation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError, model_validator
from pydantic.dataclasses import dataclass

from p2r_bench.run.settings import DEFAULT_ENGINE, DEFAULT_MODEL, Settings, TextOrPath
from p2r_bench.validation import STRICT, user_error

Made = TypeVar("Made")


@dataclass(frozen=True, config=STRICT)
class Checked:
    """A pydantic dataclass whose errors are UserErrors that name the field."""

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, values: Any, make: Callable[[Any], Made]) -> Made:
        fields = dataclasses.fields(cls)
        positional = [field.name for field in fields if not field.kw_only]
        try:
            return make(values)
        except ValidationError as error:
            if not error.errors()[0]["loc"]:
                raise  # wrong type altogether: the object that holds it names the field
            raise user_error(
                error,
                [field.name for field in fields],
                lambda key: positional[int(key)] if key.isdigit() else key,
            ) from None


@dataclass(frozen=True, config=STRICT)
class EngineChoice(Checked):
    """A model and its engine.

    Attributes:
        model: Local folder, hub id, the bundled model's name, or the name a server knows.
        engine: Name of a registered engine.
        revision: Hub revision, or None.
        args: Engine arguments, as text.

    Raises:
        UserError: A value of the wrong type; the message names the field.
    """

    model: TextOrPath = DEFAULT_MODEL
    engine: str = DEFAULT_ENGINE
    revision: str | None = None
    args: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def key(self) -> tuple[object, ...]:
        """Key shared by choices that one running engine can serve."""
        return (self.engine, self.model, self.revision, tuple(sorted(self.args.items())))


@dataclass(frozen=True, config=STRICT)
class RunSpec(Settings, Checked):
    """One (models, mode, task, profile) over a dataset. `Settings`, and docs/cli.md, have its other fields.

    Attributes:
        choice: Engine and model of the roles that are not in `roles`.
        roles: Engines and models of single roles.
        mode_params: Keyword arguments of the mode.
        task_params: Parameters of the task (Synth-HR: seed, rows, resolution).
        judge_params: Keyword arguments of judges, by scorer.
        profile_changes: Changed fields of the profile, by dotted name, such as {"crop.count": 1}.

    Raises:
        UserError: An unknown field, or a value that is not allowed; the message names the field.
    """

    task: str
    mode: str = "p2r"
    choice: EngineChoice = dataclasses.field(default_factory=EngineChoice)
    roles: Mapping[str, EngineChoice] = dataclasses.field(default_factory=dict)
    mode_params: Mapping[str, object] = dataclasses.field(default_factory=dict)
    task_params: Mapping[str, object] = dataclasses.field(default_factory=dict)
    judge_params: Mapping[str, Mapping[str, object]] = dataclasses.field(default_factory=dict)
    profile_changes: Mapping[str, object] = dataclasses.field(default_factory=dict)
