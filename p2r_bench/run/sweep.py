"""From options, or a sweep file, to the runs they name."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.plugins import registry
from p2r_bench.run.spec import DEFAULT_ENGINE, DEFAULT_MODEL, SCHEDULES, EngineChoice, RunSpec
from p2r_bench.types import ROLES

_LISTS = ("engine_args", "roles", "task_args", "mode_args", "judge_args", "sample_ids")
_PLAIN = (
    *(
        "modes",
        "tasks",
        "model",
        "engine",
        "revision",
        "profile",
        "pixels",
        "data_dir",
        "scorer",
        "out",
        "seed",
    ),
    *("repeats", "limit", "retry_errors", "allow_mixed", "in_flight", "image_memory", "schedule"),
    *("launcher", "replicas", "ray_address", "replica_resources"),
)


def read_sweep(path: Path, over: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Option sets of a sweep file: top-level values hold for all, each `[[run]]` table adds its own.

    Keys are the long options of `p2r-bench run` with underscores; a list of models makes one set each.
    What stands on the command line (`over`) wins.

    Raises:
        UserError: The file is missing, not TOML, or has a key that is no option.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from error
    tables = values.pop("run", [{}])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UserError(f"{path}: run: write each run as a [[run]] table")
    sets = []
    for number, table in enumerate(tables, 1):
        merged = {_option(key): value for key, value in {**values, **table}.items()}
        for key in merged:
            if key not in (*_LISTS, *_PLAIN):
                known = ", ".join(sorted((*_LISTS, *_PLAIN)))
                raise UserError(f"{path}: run {number}: {key}: no such option; known are {known}")
        models = merged.get("model", DEFAULT_MODEL)
        for model in models if isinstance(models, list) else [models]:
            sets.append({**merged, "model": model, **over})
    return sets


def specs_of(options: Mapping[str, Any]) -> list[RunSpec]:
    """One spec per mode and task of an option set.

    Raises:
        UserError: A value that cannot be read; the message names the option.
    """
    set_ = {key: value for key, value in options.items() if value is not None and value != ()}
    tasks = _names(set_.pop("tasks", None))
    if not tasks:
        raise UserError(f"--tasks: name at least one of {', '.join(registry().names('task'))}")
    modes = _names(set_.pop("modes", "p2r"))
    for kind, names in (("mode", modes), ("task", tasks)):
        for name in names:
            registry().entry(kind, name)  # type: ignore[arg-type]
    shared, per_role = _engine_args(set_.pop("engine_args", ()))
    model, engine = set_.pop("model", DEFAULT_MODEL), set_.pop("engine", DEFAULT_ENGINE)
    revision = set_.pop("revision", None)
    choice = EngineChoice(model, engine, revision, shared)
    known = tuple(dict.fromkeys([*ROLES, *(role for mode in modes for role in _roles_of(mode))]))
    own = dict(_role(text, known) for text in set_.pop("roles", ()))
    roles = {
        role: EngineChoice(
            role_model or model,
            role_engine or engine,
            None if role_model else revision,
            {**shared, **per_role.get(role, {})},
        )
        for role, (role_model, role_engine) in {
            **dict.fromkeys(per_role, (None, None)),
            **own,
        }.items()
    }
    fields: dict[str, Any] = {
        "task_params": _pairs("--task-arg", set_.pop("task_args", ())),
        "mode_params": _pairs("--mode-arg", set_.pop("mode_args", ())),
        "judge_params": judge_params(set_.pop("judge_args", ())),
        "sample_ids": tuple(set_.pop("sample_ids", ())),
    }
    if "replica_resources" in set_:
        fields["replica_resources"] = _resources(set_.pop("replica_resources"))
    for key in ("data_dir", "out"):
        if key in set_:
            fields[key] = Path(set_.pop(key))
    if set_.get("schedule", SCHEDULES[0]) not in SCHEDULES:
        raise UserError(f"schedule {set_['schedule']!r}: write {' or '.join(SCHEDULES)}")
    return [
        RunSpec(task=task, mode=mode, choice=choice, roles=roles, **fields, **set_)
        for mode in modes
        for task in tasks
    ]


def _option(key: str) -> str:
    plurals = {
        "mode": "modes",
        "engine_arg": "engine_args",
        "role": "roles",
        "sample_id": "sample_ids",
    }
    plurals |= {f"{name}_arg": f"{name}_args" for name in ("task", "mode", "judge")}
    key = key.replace("-", "_")
    return plurals.get(key, key)


def _names(value: Any) -> list[str]:
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return [part.strip() for part in parts if part.strip()]


def _pairs(option: str, texts: Iterable[str]) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UserError(f"{option} {text!r}: write it as name=value")
        pairs[key] = _number(value)
    return pairs


def _resources(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping):
        value = _pairs("--replica-resources", (pair.strip() for pair in str(value).split(",")))
    for name, amount in value.items():
        if type(amount) not in (int, float) or not 0 <= amount < math.inf:
            raise UserError(f"--replica-resources: {name}={amount}: write it as GPU=1,CPU=4")
    return dict(value)


def _number(text: str) -> int | float | bool | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)


def _engine_args(texts: Iterable[str]) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    shared: dict[str, str] = {}
    per_role: dict[str, dict[str, str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        role, colon, name = key.rpartition(":")
        if not equals or not name:
            raise UserError(f"--engine-arg {text!r}: write it as name=value or ROLE:name=value")
        target = per_role.setdefault(role, {}) if colon else shared
        target[name] = value
    return shared, per_role


def _roles_of(mode: str) -> tuple[str, ...]:
    return tuple(getattr(registry().get("mode", mode), "roles", ()))


def _role(text: str, known: tuple[str, ...]) -> tuple[str, tuple[str | None, str | None]]:
    role, equals, rest = text.partition("=")
    model, at, engine = rest.rpartition("@")
    if not at:
        model, engine = rest, ""
    if not equals or role not in known or not (model or engine):
        raise UserError(
            f"--role {text!r}: write it as ROLE=MODEL, ROLE=MODEL@ENGINE or ROLE=@ENGINE, "
            f"with a role of {', '.join(known)}"
        )
    return role, (model or None, engine or None)


def judge_params(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    params: dict[str, dict[str, Any]] = {}
    for text in texts:
        scorer, colon, pair = text.partition(":")
        if not colon:
            raise UserError(f"--judge-arg {text!r}: write it as SCORER:name=value")
        params.setdefault(scorer, {}).update(_pairs("--judge-arg", [pair]))
    return params
