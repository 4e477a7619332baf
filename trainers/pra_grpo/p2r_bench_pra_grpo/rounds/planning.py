"""The plan of a training: for every step what runs where, and which files it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from p2r_bench_pra_grpo.config import Config, ServiceConfig
from p2r_bench_pra_grpo.rounds.evaluation import reason_to_stop, results_folder
from p2r_bench_pra_grpo.rounds.state import State
from p2r_bench_pra_grpo.rounds.steps import Step, model_of, steps
from p2r_bench_pra_grpo.services.desk import frozen_name, verifier_server
from p2r_bench_pra_grpo.services.naming import served_name
from p2r_bench_pra_grpo.services.server import Server
from p2r_bench_pra_grpo.stage import Backend, Stage

Row = dict[str, Any]

_BACKENDS_OWN = ("train", "merge")


def plan(config: Config, backend: Backend) -> Sequence[Mapping[str, Any]]:
    """The steps that are left, in order. Nothing is done or fetched; names that follow from weights which do not
    exist yet stand as "p2r-DIGEST"."""
    state = State.read(config.out)
    if reason_to_stop(config, state.steps):
        return []
    rows: list[Row] = []
    for step in steps(config):
        if step.name in state.steps:
            continue
        rows += _rows(step, config, backend, state)
    return rows


def _rows(step: Step, config: Config, backend: Backend, state: State) -> list[Row]:
    if step.stage is None:
        return [_evaluate(step, config)] if step.kind == "evaluate" else [_plot(step, config)]
    if step.kind == "train":
        merged = f"{step.stage.name}/merge" in state.steps
        own = [dict(row) for row in backend.plan(step.stage)]
        return [
            {**row, "step": f"{step.stage.name}/{row['step']}"}
            for row in own
            if not (merged and row["step"] == "merge")
        ]
    if step.kind == "merge":
        if f"{step.stage.name}/train" not in state.steps:
            return []  # it has been listed with the training
        own = [dict(row) for row in backend.plan(step.stage) if row["step"] == "merge"]
        return [{**row, "step": step.name} for row in own]
    described = {"serve": _serve, "boxes": _boxes, "load-test": _load_test, "swap": _swap}
    return described[step.kind](step.stage, step.name, config)


def _evaluate(step: Step, config: Config) -> Row:
    wanted, model = config.evaluation, model_of(config, step.round)
    command = [
        "p2r-bench",
        "run",
        "--mode",
        ",".join(wanted.modes),
        "--tasks",
        ",".join(wanted.tasks),
    ]
    command += ["--model", str(model), "--engine", wanted.engine]
    for key, value in wanted.engine_args.items():
        command += ["--engine-arg", f"{key}={value}"]
    for flag, given in (
        ("--data-dir", wanted.data_dir),
        ("--profile", config.profile),
        ("--limit", wanted.limit),
        ("--scorer", wanted.scorer),
    ):
        command += [flag, str(given)] if given is not None else []
    for key, value in wanted.task_params.items():
        command += ["--task-arg", f"{key}={value}"]
    command += ["--seed", str(wanted.seed), "--out", str(results_folder(config))]
    return {
        "step": step.name,
        "does": "evaluates the model in this process, as this command does" if step.round
        else "evaluates the start model in this process, as this command does",
        "command": command,
        "files": [str(results_folder(config) / "leaderboard.parquet")],
    }  # fmt: skip


def _plot(step: Step, config: Config) -> Row:
    return {
        "step": step.name,
        "does": "draws the round's metrics",
        "files": [str(config.out / f"round-{step.round}" / "metrics.png")],
    }


def _serve(stage: Stage, name: str, config: Config) -> list[Row]:
    role, service = frozen_name(stage), config.service_for(stage.role)
    rows: list[Row] = []
    if role is not None and stage.frozen is not None:
        rows.append(_service(f"{name} ({role})", role, service, stage.frozen, config))
    verifier = config.services.verifier
    if verifier is not None:
        rows.append(_service(f"{name} (verifier)", "verifier", verifier, None, config))
    return rows


def _service(
    name: str, role: str, service: ServiceConfig, model: Path | None, config: Config
) -> Row:
    if service.kind == "engine":
        return {
            "step": name,
            "does": f"loads {model} into this process by the engine {service.engine}, as the frozen {role}",
        }
    folder = config.out.resolve() / "services"
    if model is None:
        server = verifier_server(service, folder, _silent)
    else:
        served = served_name(model, service) if model.is_dir() else service.model or "p2r-DIGEST"
        server = Server(role, service, str(model), served, folder, _silent)
    checks = f"checks that it serves {server.name} and answers a small request"
    if service.kind == "url":
        return {"step": name, "does": checks, "hosts": list(server.urls)}
    return {
        "step": name,
        "does": f"starts a server, or adopts the one that is running; {checks}",
        "command": server.command,
        "environment": server.environment,
        "hosts": [service.host],
        "ports": [service.port],
        "gpus": list(service.gpus),
        "files": [str(server.log)],
    }


def _boxes(stage: Stage, name: str, config: Config) -> list[Row]:
    return [
        {
            "step": name,
            "does": "asks the frozen perceiver once for the boxes of every sample",
            "files": [str(stage.boxes)],
        }
    ]


def _load_test(stage: Stage, name: str, config: Config) -> list[Row]:
    return [
        {
            "step": name,
            "does": f"loads {stage.model} by the engine {config.evaluation.engine} and generates once",
            "files": [str(stage.model / "training.json")],
        }
    ]


def _swap(stage: Stage, name: str, config: Config) -> list[Row]:
    return [
        {
            "step": name,
            "does": f"points {config.out / 'model'} at {stage.model}",
            "files": [str(config.out / "model")],
        }
    ]


def _silent(line: str) -> None: ...
