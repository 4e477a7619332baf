"""Progress of a training, from its files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from p2r_bench_pra_grpo.config import Config
from p2r_bench_pra_grpo.metrics import StepFile
from p2r_bench_pra_grpo.rounds.evaluation import reason_to_stop
from p2r_bench_pra_grpo.rounds.state import State
from p2r_bench_pra_grpo.rounds.steps import Step, steps

_TOLD = ("step", "reward_mean", "kl", "entropy", "response_tokens_mean", "failed_share")


def status(config: Config) -> Mapping[str, Any]:
    """Return state, steps done and next, the current stage's last step, and the evaluations in percent."""
    state = State.read(config.out)
    every = list(steps(config))
    done = [step for step in every if step.name in state.steps]
    left = [step for step in every if step.name not in state.steps]
    why = reason_to_stop(config, state.steps)
    following = None if why or not left else left[0]
    return {
        "state": _state(state, following, why),
        "out": str(config.out),
        "done": len(done),
        "of": len(every),
        "next": following.name if following else None,
        "model": _model(state, done),
        "stage": _stage(following),
        "evaluations": {
            step.name: round(100 * state.steps[step.name]["value"], 2)
            for step in done
            if step.kind == "evaluate"
        },
    }


def _state(state: State, following: Step | None, why: str | None) -> str:
    if why:
        return why
    if following is None:
        return "finished"
    return "under way" if state.begun else "not started"


def _model(state: State, done: list[Step]) -> str | None:
    swapped = [step for step in done if step.kind == "swap"]
    return str(state.steps[swapped[-1].name]["model"]) if swapped else None


def _stage(following: Step | None) -> Mapping[str, Any] | None:
    if following is None or following.stage is None or following.kind != "train":
        return None
    rows = StepFile(following.stage.metrics).rows
    return {name: rows[-1][name] for name in _TOLD} if rows else None
