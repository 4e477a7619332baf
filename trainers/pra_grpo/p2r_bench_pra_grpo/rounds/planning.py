"""Plan of a training: commands, machines and files of every step."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from p2r_bench.models import model_folder
from p2r_bench_pra_grpo.config import Config, ServiceConfig
from p2r_bench_pra_grpo.data.load import check_there
from p2r_bench_pra_grpo.devices import devices
from p2r_bench_pra_grpo.rounds.evaluation import (
    evaluation_command,
    reason_to_stop,
    results_folder,
)
from p2r_bench_pra_grpo.rounds.state import State
from p2r_bench_pra_grpo.rounds.steps import Step, model_of, start_folder, steps
from p2r_bench_pra_grpo.services.manager import frozen_name, verifier_server
from p2r_bench_pra_grpo.services.naming import served_name
from p2r_bench_pra_grpo.services.server import Server
from p2r_bench_pra_grpo.stage import Backend, Stage

Row = dict[str, Any]


def plan(config: Config, backend: Backend) -> Sequence[Mapping[str, Any]]:
    """Return the steps that are left, in order. Nothing is run or downloaded; names that depend on weights which do not
    exist yet are shown as "p2r-DIGEST".

    Raises:
        UserError: The model or data are missing, or the backend cannot run.
    """
    state = State.read(config.out)
    if reason_to_stop(config, state.steps):
        return []
    left = [step for step in steps(config) if step.name not in state.steps]
    if left:
        _check_start(config)
        check_there(config)
    return [row for step in left for row in _rows(step, config, backend, state)]


def _check_start(config: Config) -> None:
    """Refuse a start model that is missing. A hub id is not looked up."""
    if start_folder(config).is_dir() or config.model.count("/") != 1:
        model_folder(config.model, config.revision)


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
    wanted = config.evaluation
    model = str(model_of(config, step.round)) if step.round else config.model
    return {
        "step": step.name,
        "does": "evaluates the model in this process, as this command does" if step.round
        else "evaluates the start model in this process, as this command does",
        "command": evaluation_command(config, model),
        **_engine(wanted.engine, wanted.engine_args),
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
            **_engine(service.engine, service.engine_args),
        }
    folder = config.out.resolve() / "services"
    if model is None:
        server = verifier_server(service, folder, _silent)
    else:
        served = served_name(model, service) if model.is_dir() else service.model or "p2r-DIGEST"
        server = Server(role, service, str(model), served, folder, _silent)
    checks = f"checks that it serves {server.name} and answers a small request"
    if service.kind == "url":
        return {"step": name, "does": checks, **_reached(service)}
    return {
        "step": name,
        "does": f"starts a server, or adopts the one that is running; {checks}",
        "command": server.command,
        "environment": server.environment,
        **_reached(service),
        "files": [str(server.log)],
    }


def _boxes(stage: Stage, name: str, config: Config) -> list[Row]:
    return [
        {
            "step": name,
            "does": "asks the frozen perceiver once for the boxes of every sample",
            **_reached(config.service_for(stage.role)),
            "files": [str(stage.boxes)],
        }
    ]


def _load_test(stage: Stage, name: str, config: Config) -> list[Row]:
    return [
        {
            "step": name,
            "does": f"loads {stage.model} by the engine {config.evaluation.engine} and generates once",
            **_engine(config.evaluation.engine, config.evaluation.engine_args),
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


def _engine(name: str, args: Mapping[str, Any]) -> Row:
    """Return the place of an engine's model: servers, or this process."""
    urls = args.get("base_url") or os.environ.get("OPENAI_BASE_URL")
    if name == "openai" and urls:
        return {"hosts": urls.split(",") if isinstance(urls, str) else list(urls)}
    return {"hosts": ["localhost"], "gpus": devices(str(args.get("device", "auto")))}


def _reached(service: ServiceConfig) -> Row:
    """Return the place of a model that is already served."""
    if service.kind == "engine":
        return _engine(service.engine, service.engine_args)
    if service.kind == "url":
        return {"hosts": list(service.urls)}
    return {"hosts": [service.host], "ports": [service.port], "gpus": list(service.gpus)}


def _silent(line: str) -> None: ...
