"""Steps of a training, in order; they follow from the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from p2r_bench.models import resolve_model
from p2r_bench_pra_grpo.config import Config
from p2r_bench_pra_grpo.stage import STAGE_ROLES, Stage, StageRole

Kind = Literal["evaluate", "serve", "boxes", "train", "merge", "load-test", "swap", "plot"]

STAGE_STEPS: Mapping[StageRole, tuple[Kind, ...]] = {
    "perceiver": ("serve", "train", "merge", "load-test", "swap"),
    "reasoner": ("serve", "boxes", "train", "merge", "load-test", "swap"),
    "baseline": ("serve", "train", "merge", "load-test", "swap"),
}
ROUND_STEPS: tuple[Kind, ...] = ("evaluate", "plot")


@dataclass(frozen=True)
class Step:
    """One unit of work that is recorded when it is done.

    Attributes:
        stage: The stage that it belongs to; None for a step of a whole round.
    """

    kind: Kind
    round: int
    stage: Stage | None = None

    @property
    def name(self) -> str:
        """Unique in the training: "round-1/perceiver/train"."""
        return f"{self.stage.name}/{self.kind}" if self.stage else f"round-{self.round}/{self.kind}"


def steps(config: Config) -> Iterator[Step]:
    """Yield all steps. Round 0 is the evaluation of the start model."""
    yield Step("evaluate", 0)
    for stage in stages(config):
        yield from (Step(kind, stage.round, stage) for kind in STAGE_STEPS[stage.role])
        if stage.role == config.stages[-1]:
            yield from (Step(kind, stage.round) for kind in ROUND_STEPS)


def stages(config: Config) -> Iterator[Stage]:
    """Yield all stages; each starts from the result of the one before, which is also the frozen model."""
    current = start_folder(config)
    for number in range(1, config.rounds + 1):
        for role in config.stages:
            stage = Stage(
                round=number,
                role=role,
                start=current,
                frozen=None if role == "baseline" else current,
                folder=config.out.resolve() / f"round-{number}" / role,
                seed=stage_seed(config.seed, number, role),
            )
            yield stage
            current = stage.model


def stage_seed(seed: int, number: int, role: StageRole) -> int:
    """Return the seed of a round's stage; it differs between rounds, roles and seeds of a training."""
    return (seed * 1_000_003 + len(STAGE_ROLES) * number + STAGE_ROLES.index(role)) % 2**31


def start_folder(config: Config) -> Path:
    """Return the start model's folder, or its hub id until `rounds.machine` has downloaded it."""
    resolved = Path(resolve_model(config.model)).expanduser()
    return resolved.resolve() if resolved.is_dir() else Path(config.model)


def model_of(config: Config, number: int) -> Path:
    """Return the model at the end of a round; of round 0, the start."""
    last = [stage.model for stage in stages(config) if stage.round == number]
    return last[-1] if last else start_folder(config)
