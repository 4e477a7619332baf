"""Types shared by rounds and backends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from p2r_bench.errors import P2RError
from p2r_bench.types import Completion, Prediction, Request, Sample, Verdict

if TYPE_CHECKING:
    from p2r_bench_pra_grpo.config import Config

StageRole = Literal["perceiver", "reasoner", "baseline"]
STAGE_ROLES: tuple[StageRole, ...] = ("perceiver", "reasoner", "baseline")

CALL_ROLE: Mapping[StageRole, str] = {
    "perceiver": "perceive",
    "reasoner": "reason",
    "baseline": "think",
}
"""Role of a stage to the role of the call that its policy answers: `Request.role`."""

FROZEN_ROLE: Mapping[StageRole, str | None] = {
    "perceiver": "reason",
    "reasoner": "perceive",
    "baseline": None,
}
"""Role of a stage to the role of the call that the frozen model answers."""


@dataclass(frozen=True)
class Stage:
    """One GRPO stage of a round.

    Attributes:
        round: Number of the round, from 1.
        role: Role of the policy; `CALL_ROLE` names its calls.
        start: Hugging Face folder that the policy starts from.
        frozen: Folder of the model that plays the other role, or None for `baseline`.
        folder: Folder of all files of the stage.
        seed: Seed of the order of the prompts and of the rollouts.
    """

    round: int
    role: StageRole
    start: Path
    frozen: Path | None
    folder: Path
    seed: int

    @property
    def name(self) -> str:
        """Name for logs and state: "round-1/perceiver"."""
        return f"round-{self.round}/{self.role}"

    @property
    def model(self) -> Path:
        """Hugging Face folder of the stage's result, written by `Backend.merge`."""
        return self.folder / "model"

    @property
    def metrics(self) -> Path:
        """Parquet file, one row per step; `METRICS` of a `metrics.StepFile`."""
        return self.folder / "metrics.parquet"

    @property
    def rollouts(self) -> Path:
        """Parquet file of the stored rollouts; `ROLLOUTS` of a `metrics.StepFile`."""
        return self.folder / "rollouts.parquet"

    @property
    def boxes(self) -> Path:
        """File of the frozen perceiver's texts (`reasoner`); see `boxes.BoxStore`."""
        return self.folder / "boxes.jsonl"


@dataclass(frozen=True)
class Reward:
    """Reward of a rollout. A rollout with a failed call has none.

    Attributes:
        value: Reward that GRPO normalises within the group; finite.
        terms: Every configured term by name, before weighting; the same names for all rewards of a stage.
        prediction: The mode's outcome with the rollout replayed, with all completions.
        verdict: Verdict of the answer form's judge; its status is "ok".
    """

    value: float
    terms: Mapping[str, float]
    prediction: Prediction
    verdict: Verdict


class NoReward(P2RError):
    """A rollout has no reward, because a judge failed or its boxes cannot be used. The rollout leaves its group.

    Attributes:
        kind: Short machine-readable cause, as of `EngineError`.
    """

    def __init__(self, message: str, *, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class ServiceDown(P2RError):
    """A frozen model or the verifier does not answer any more. The stage stops, and can be resumed."""


View = Callable[[Mapping[str, Any]], None]
"""Function called with one row of metrics per step. The row's keys are columns of metrics.parquet."""


class Frozen(Protocol):
    """The model that plays the other role, inside `async with`.

    Attributes:
        at: Address for another process, or None for a model in this process. In a reasoner's stage, the
            file of the stored boxes.
    """

    at: Mapping[str, Any] | None

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    async def ask(self, request: Request) -> Completion:
        """Answer a request of the frozen role.

        Raises:
            EngineError: This request has no complete answer, also after retries: its rollout leaves its group.
            ServiceDown: The model answers no request any more.
        """


class Backend(Protocol):
    """Trainer of one stage. Made as `Backend(config: Config)`; construction is cheap and imports nothing heavy."""

    name: str

    def __init__(self, config: Config) -> None: ...

    def plan(self, stage: Stage) -> Sequence[Mapping[str, Any]]:
        """Return the steps of `train` and `merge` without running them: "step" (a name), "does" (a sentence), and where
        they apply "command" (list of words), "hosts", "ports", "gpus", "files". JSON-able.
        """

    def facts(self, stage: Stage) -> Mapping[str, Any]:
        """Return facts of the training for the manifest of the stage's model, such as versions and the use of
        flash-attn. JSON-able."""

    def train(
        self, stage: Stage, samples: Sequence[Sample], frozen: Frozen | None, view: View
    ) -> None:
        """Train to the end of the stage, from the newest checkpoint below `stage.folder`, if any.

        After an interruption, the next call continues; after the end, a call returns at once.

        Raises:
            ServiceDown: The stage is paused; its checkpoints stay.
            UserError: Something the user can put right.
        """

    def merge(self, stage: Stage) -> Path:
        """Write the last checkpoint as a Hugging Face folder, and atomically replace `stage.model` by it.

        Returns:
            `stage.model`; not load-tested yet.
        """
