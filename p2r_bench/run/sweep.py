"""The runs named by options or by a sweep file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.optional import declared_roles
from p2r_bench.plugins import registry
from p2r_bench.run.options import Options, option
from p2r_bench.run.pairs import changes_of, engine_args, judge_params, role, scoped
from p2r_bench.run.panel import expanded
from p2r_bench.run.settings import Settings
from p2r_bench.run.spec import EngineChoice, RunSpec
from p2r_bench.types import ROLES


def read_sweep(path: Path, over: Mapping[str, Any]) -> list[Options]:
    """Read the option sets of a sweep file: top-level values hold for all, each `[[run]]` table adds its own.

    Keys are the long options of `p2r-bench run` with underscores; a list of models makes one set each.

    Args:
        over: Options on the command line, which win.

    Raises:
        UserError: A missing or malformed file, or a key or value that is not allowed; the message names file, run and
            key.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid TOML: {error}") from error
    tables = values.pop("run", [{}])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UserError(f"{path}: run: write each run as a [[run]] table")
    if not tables:
        raise UserError(f"{path}: run: no run is listed; add a [[run]] table")
    sets = []
    for number, table in enumerate(tables, 1):
        place = f"{path}: run {number}: "
        merged = {**_fields(values, f"{path}: "), **_fields(table, place), **_fields(over, "")}
        for one in _each_model(merged.pop("model", None), place):
            sets.append(Options.read({**merged, "model": one}, place))
    return sets


def specs_of(options: Options | Mapping[str, Any]) -> list[RunSpec]:
    """Return one spec per combination of --set values, mode and task of an option set.

    Raises:
        UserError: A value that cannot be read; the message names the option and its file.
    """
    options = options if isinstance(options, Options) else Options.read(options)
    try:
        return _specs(options)
    except UserError as error:
        raise options.error(error) from error.__cause__


def _specs(options: Options) -> list[RunSpec]:
    if not options.tasks:
        raise UserError(f"--tasks: name at least one of {', '.join(registry().names('task'))}")
    modes = expanded(options.modes)
    for name in modes:
        registry().entry("mode", name)
    for name in options.tasks:
        registry().entry("task", name)
    choice, roles = _engines(options)
    shared: dict[str, Any] = {
        "judge_params": judge_params(options.judge_args),
        **{field.name: getattr(options, field.name) for field in fields(Settings)},
    }
    of_mode = scoped("--mode-arg", "mode", options.mode_args, modes)
    of_task = scoped("--task-arg", "task", options.task_args, options.tasks)
    return [
        RunSpec(
            task=task,
            mode=mode,
            choice=choice,
            roles=roles,
            mode_params=of_mode[mode],
            task_params=of_task[task],
            profile_changes=changes,
            **shared,
        )
        for changes in changes_of(options.sets)
        for mode in modes
        for task in options.tasks
    ]


def _engines(options: Options) -> tuple[EngineChoice, dict[str, EngineChoice]]:
    """Return the choice for all roles, and the choices of single roles."""
    shared, per_role = engine_args(options.engine_args)
    choice = EngineChoice(options.model, options.engine, options.revision, shared)
    known = tuple(
        dict.fromkeys([*ROLES, *(r for mode in expanded(options.modes) for r in _roles_of(mode))])
    )
    own = {**dict.fromkeys(per_role, (None, None)), **dict(role(t, known) for t in options.roles)}
    return choice, {
        name: EngineChoice(
            model or options.model,
            engine or options.engine,
            None if model else options.revision,
            {**shared, **per_role.get(name, {})},
        )
        for name, (model, engine) in own.items()
    }


def _roles_of(mode: str) -> tuple[str, ...]:
    return declared_roles(registry().get("mode", mode)) or ()


def _fields(table: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return a table keyed by the options' field names."""
    fields: dict[str, Any] = {}
    for key, value in table.items():
        if option(key) in fields:
            raise UserError(f"{place}{key}: is set twice, in two spellings; keep one")
        fields[option(key)] = value
    return fields


def _each_model(models: Any, place: str) -> list[Any]:
    if not isinstance(models, list):
        return [models]
    if not models:
        raise UserError(f"{place}model: an empty list; name at least one model")
    return models
