"""What a user asks for: one run, or several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from p2r_bench.run.images import DEFAULT_BUDGET

DEFAULT_MODEL = "p2r-tiny"
DEFAULT_ENGINE = "transformers"

Launching = Literal["local", "ray"]
Schedule = Literal["pipelined", "barrier"]
SCHEDULES: tuple[Schedule, ...] = ("pipelined", "barrier")


@dataclass(frozen=True)
class EngineChoice:
    """A model and what runs it.

    Attributes:
        model: Local folder, hub id, the bundled model's name, or the name a server knows.
        engine: Name of a registered engine.
        revision: Hub revision, or None.
        args: Engine arguments, as text.
    """

    model: str = DEFAULT_MODEL
    engine: str = DEFAULT_ENGINE
    revision: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for choices that one running engine can serve."""
        return (self.engine, self.model, self.revision, tuple(sorted(self.args.items())))


@dataclass(frozen=True)
class RunSpec:
    """One (models, mode, task, profile) over a dataset.

    Attributes:
        choice: Engine and model of every role that `roles` does not name.
        roles: Role to its own engine and model.
        profile: Name or path; None takes the one that the model folder names, else "p2r".
        pixels: Pixel route, "exact" or "fast", in place of the profile's.
        mode_params: Keyword arguments of the mode.
        task_params: Parameters of the task (Synth-HR: seed, rows, resolution).
        judge_params: Scorer to keyword arguments of its judge.
        scorer: Headline scorer for choice questions; None takes the task's own, else "strict".
        repeats: How often each sample is run, with different seeds.
        limit: Only the first so many samples.
        sample_ids: Only these samples.
        retry_errors: Run samples again whose last outcome is an error.
        schedule: "pipelined", or "barrier": the published evaluation's way, as a baseline (`run.barrier`).
            The answers are the same; it is not part of a run's identity.
        in_flight: Samples worked on at once; None takes twice what keeps the engine full.
        image_memory: Bytes of pixels held at once.
        launcher: "local": in this process; "ray": by `replicas` processes of a Ray cluster, for each of which
            `in_flight` and `image_memory` hold. The answers are the same; it is not part of a run's identity.
        replicas: How many processes.
        ray_address: See `RayCluster.address`.
        replica_resources: What each replica reserves, {"GPU": 2, "CPU": 8}; see `RayCluster.resources`.
    """

    task: str
    mode: str = "p2r"
    choice: EngineChoice = field(default_factory=EngineChoice)
    roles: Mapping[str, EngineChoice] = field(default_factory=dict)
    profile: str | None = None
    pixels: str | None = None
    data_dir: Path | None = None
    task_params: Mapping[str, object] = field(default_factory=dict)
    mode_params: Mapping[str, object] = field(default_factory=dict)
    judge_params: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    scorer: str | None = None
    out: Path = Path("results")
    seed: int = 0
    repeats: int = 1
    limit: int | None = None
    sample_ids: tuple[str, ...] = ()
    retry_errors: bool = True
    allow_mixed: bool = False
    schedule: Schedule = "pipelined"
    in_flight: int | None = None
    image_memory: int = DEFAULT_BUDGET
    launcher: Launching = "local"
    replicas: int = 1
    ray_address: str | None = None
    replica_resources: Mapping[str, float] | None = None
