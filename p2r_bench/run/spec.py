"""Specification of one run, validated on creation."""

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
    args: Mapping[str, str] = field(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, values: Any, make: Callable[[Any], Made]) -> Made:
        return _made(cls, values, make)

    @property
    def key(self) -> tuple[object, ...]:
        """Key shared by choices that one running engine can serve."""
        return (self.engine, self.model, self.revision, tuple(sorted(self.args.items())))


@dataclass(frozen=True, config=STRICT)
class RunSpec:
    """One (models, mode, task, profile) over a dataset.

    Attributes:
        choice: Engine and model of the roles that are not in `roles`.
        roles: Engines and models of single roles.
        profile: Name or path; None takes the model folder's, else "p2r".
        family: Model family, overrides the profile's; None takes the profile's, which for "auto" is the checkpoint's.
        pixels: Pixel route, overrides the profile's.
        mode_params: Keyword arguments of the mode.
        task_params: Parameters of the task (Synth-HR: seed, rows, resolution).
        judge_params: Keyword arguments of judges, by scorer.
        scorer: Headline scorer for choice questions; None takes the task's own, else "strict".
        repeats: Number of runs of each sample, with different seeds.
        limit: Number of samples, from the first on; None takes all.
        on_bad_row: "stop", or "skip", which leaves unreadable rows out and counts them; the run is then never complete.
        allow_outside: Allow image paths that lead outside the data folder.
        sample_ids: Ids of the only samples to run.
        retry_errors: Run samples again if their last outcome is an error.
        canaries: Policy for failed start-up checks of an engine: "warn" refuses certain failures and warns of those
            that may be the model's, "strict" refuses both, "skip=NAME,…" skips some checks, "off" all.
        in_flight: Samples in progress at once; None takes twice the number that keeps the engine full.
        image_memory: Bytes of pixels held at once.
        launcher: "local" runs in this process, "ray" in `replicas` processes of a Ray cluster, with `in_flight` and
            `image_memory` for each. Not part of a run's identity, since answers are the same.
        replicas: Number of processes.
        ray_address: See `Cluster.address`.
        replica_resources: Resources of each replica, such as {"GPU": 2, "CPU": 8}; see `Cluster.resources`.

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
            raise  # wrong type altogether: the object that holds it names the field
        raise user_error(
            error, fields, lambda key: fields[int(key)] if key.isdigit() else key
        ) from None
