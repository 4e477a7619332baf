"""One run as a user asks for it, checked when it is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from p2r_bench.run.images.rendering import DEFAULT_BUDGET
from p2r_bench.run.validation import STRICT, user_error

DEFAULT_MODEL = "p2r-tiny"
DEFAULT_ENGINE = "transformers"

Launching = Literal["local", "ray"]
OnBadRow = Literal["stop", "skip"]
Pixels = Literal["exact", "fast"]

Positive = Annotated[int, Field(ge=1)]
AnyPath = Annotated[Path, Field(strict=False)]
"""A path, or its text."""
Texts = Annotated[tuple[str, ...], Field(strict=False)]
"""Texts in any sequence, kept as a tuple."""
TextOrPath = Annotated[
    str, BeforeValidator(lambda v: os.fspath(v) if isinstance(v, os.PathLike) else v)
]
"""A name or a path, kept as text."""
Resources = Mapping[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]

Made = TypeVar("Made")


@dataclass(frozen=True, config=STRICT)
class EngineChoice:
    """A model and what runs it.

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
    args: Mapping[str, str] = field(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, values: Any, make: Callable[[Any], Made]) -> Made:
        return _made(cls, values, make)

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for choices that one running engine can serve."""
        return (self.engine, self.model, self.revision, tuple(sorted(self.args.items())))


@dataclass(frozen=True, config=STRICT)
class RunSpec:
    """One (models, mode, task, profile) over a dataset.

    Attributes:
        choice: Engine and model of every role that `roles` does not name.
        roles: Role to its own engine and model.
        profile: Name or path; None takes the one that the model folder names, else "p2r".
        family: Model family in place of the profile's; None takes the profile's, and for "auto" the checkpoint's.
        pixels: Pixel route in place of the profile's.
        mode_params: Keyword arguments of the mode.
        task_params: Parameters of the task (Synth-HR: seed, rows, resolution).
        judge_params: Scorer to keyword arguments of its judge.
        scorer: Headline scorer for choice questions; None takes the task's own, else "strict".
        repeats: How often each sample is run, with different seeds.
        limit: Only the first so many samples.
        on_bad_row: "stop", or "skip": rows that cannot be read are left out and counted, and the run is never complete.
        allow_outside: Read image files outside the data folder that the data names.
        sample_ids: Only these samples.
        retry_errors: Run samples again whose last outcome is an error.
        canaries: What happens with the start-up checks of an engine: "warn" refuses what is certain and warns of
            what depends on the model, "strict" refuses both, "skip=NAME,…" leaves some out, "off" all.
        in_flight: Samples worked on at once; None takes twice what keeps the engine full.
        image_memory: Bytes of pixels held at once.
        launcher: "local": in this process; "ray": by `replicas` processes of a Ray cluster, for each of which
            `in_flight` and `image_memory` hold. The answers are the same; it is not part of a run's identity.
        replicas: How many processes.
        ray_address: See `RayCluster.address`.
        replica_resources: What each replica reserves, {"GPU": 2, "CPU": 8}; see `RayCluster.resources`.

    Raises:
        UserError: An unknown field, or a value that is not allowed; the message names the field.
    """

    task: str
    mode: str = "p2r"
    choice: EngineChoice = field(default_factory=EngineChoice)
    roles: Mapping[str, EngineChoice] = field(default_factory=dict)
    profile: TextOrPath | None = None
    family: str | None = None
    pixels: Pixels | None = None
    data_dir: AnyPath | None = None
    task_params: Mapping[str, object] = field(default_factory=dict)
    mode_params: Mapping[str, object] = field(default_factory=dict)
    judge_params: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    scorer: str | None = None
    out: AnyPath = Path("results")
    seed: int = 0
    repeats: Positive = 1
    limit: Positive | None = None
    on_bad_row: OnBadRow = "stop"
    allow_outside: bool = False
    sample_ids: Texts = ()
    retry_errors: bool = True
    allow_mixed: bool = False
    canaries: str = "warn"
    in_flight: Positive | None = None
    image_memory: Positive = DEFAULT_BUDGET
    launcher: Launching = "local"
    replicas: Positive = 1
    ray_address: str | None = None
    replica_resources: Resources | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, values: Any, make: Callable[[Any], Made]) -> Made:
        return _made(cls, values, make)


def _made(kind: type, values: Any, make: Callable[[Any], Made]) -> Made:
    fields = [*kind.__dataclass_fields__]  # type: ignore[attr-defined]
    try:
        return make(values)
    except ValidationError as error:
        if not error.errors()[0]["loc"]:
            raise  # no instance of the class at all: the object that holds it names the field
        raise user_error(
            error, fields, lambda key: fields[int(key)] if key.isdigit() else key
        ) from None
