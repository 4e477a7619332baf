"""Evaluation of the training's models by the core, and early stopping."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.session import evaluate
from p2r_bench_pra_grpo.config import Config, profile_name
from p2r_bench_pra_grpo.rewarding import judge_params


def evaluate_model(config: Config, model: str) -> dict[str, Any]:
    """Run every mode on every task; runs and the leaderboard's rows go where `p2r-bench run` puts them.

    Returns:
        "value", the mean accuracy of the first mode over the tasks, 0 to 1, and "runs", a row for each run.

    Raises:
        UserError: The evaluation cannot run, or left samples without an outcome.
    """
    wanted = config.evaluation
    results = evaluate(wanted.modes, wanted.tasks, model, **_options(config, model))
    rows: list[dict[str, Any]] = []
    for result in results:
        overall = result.overall
        failed = sum(row["n_errors"] for row in overall)
        if result.interrupted or not overall or failed:
            raise UserError(
                f"the evaluation {result.run_id} is not complete"
                + (f": {failed} samples failed" if failed else "")
                + f"; what it has is kept in {result.path}, and the same command completes it"
            )
        rows += [
            {
                "mode": row["mode"],
                "task": row["task"],
                "subset": row["subset"],
                "value": row["value"],
                "n": row["n"],
                "run_id": row["run_id"],
                "model_digest": row["model_digest"],
                "profile_hash": row["profile_hash"],
            }
            for row in overall
        ]
    first = [row["value"] for row in rows if row["mode"] == wanted.modes[0]]
    return {"value": fmean(first), "runs": rows}


def evaluation_command(config: Config, model: str) -> list[str]:
    """Return the words of the `p2r-bench run` that does the same as `evaluate_model`."""
    wanted, given = config.evaluation, _options(config, model)
    words = ["p2r-bench", "run", "--mode", ",".join(wanted.modes)]
    words += ["--tasks", ",".join(wanted.tasks), "--model", model]
    pairs = [("--engine-arg", key, value) for key, value in given.pop("engine_args").items()]
    pairs += [("--task-arg", key, value) for key, value in given.pop("task_params").items()]
    for scorer, own in given.pop("judge_params").items():
        pairs += [("--judge-arg", f"{scorer}:{key}", value) for key, value in own.items()]
    for key, value in given.items():
        words += [f"--{key.replace('_', '-')}", str(value)] if value is not None else []
    for flag, key, value in pairs:
        words += [flag, f"{key}={_text(value)}"]
    return words


def _options(config: Config, model: str) -> dict[str, Any]:
    """Return the keyword arguments of `evaluate` for a model."""
    wanted = config.evaluation
    return {
        "engine": wanted.engine,
        "revision": config.revision if model.count("/") == 1 and not Path(model).exists() else None,
        "engine_args": {k: _text(v) for k, v in wanted.engine_args.items()},
        "data_dir": wanted.data_dir,
        "out": results_folder(config),
        "profile": profile_name(config),
        "task_params": dict(wanted.task_params),
        "judge_params": judge_params(config),
        "limit": wanted.limit,
        "seed": wanted.seed,
        "scorer": wanted.scorer,
    }


def results_folder(config: Config) -> Path:
    """Return the folder of runs and leaderboard."""
    return config.evaluation.out or config.out / "results"


def reason_to_stop(config: Config, done: Mapping[str, Any]) -> str | None:
    """Return the reason to begin no further round, from the evaluations so far, or None."""
    patience = config.evaluation.stop_after
    if patience is None:
        return None
    values = []
    for number in range(config.rounds + 1):
        result = done.get(f"round-{number}/evaluate")
        if result is None or (number and f"round-{number}/plot" not in done):
            break
        values.append(100 * result["value"])
    best, since = values[0] if values else 0.0, 0
    for value in values[1:]:
        best, since = (
            (value, 0)
            if value >= best + config.evaluation.gain and value > best
            else (best, since + 1)
        )
    last = len(values) - 1
    if since < patience or last >= config.rounds:
        return None
    return (
        f"stopped after round {last}: no gain of {config.evaluation.gain:g} points over {best:.1f} % "
        f"in {since} round{'s' if since > 1 else ''}"
    )


def shown(result: Mapping[str, Any]) -> str:
    """Return the results in words: "p2r on Synth-HR 95.2 %, …"."""
    return ", ".join(
        f"{row['mode']} on {row['task']}{' ' + row['subset'] if row['subset'] else ''} {100 * row['value']:.1f} %"
        for row in result["runs"]
    )


def _text(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
