"""Settings of a run: one definition for the command line, sweep files, `RunSpec` and docs/cli.md.

Nothing heavy is imported here, because `p2r-bench run --help` and the shell's completion read it.
"""
# ruff: noqa: RUF009

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from p2r_bench.run.pairs import resources

DEFAULT_MODEL = "p2r-tiny"
DEFAULT_ENGINE = "transformers"
IMAGE_MEMORY = 1 << 30
_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


@dataclass(frozen=True)
class Converted:
    """Conversion of a value before pydantic checks it. A ValueError of the conversion says what the value must be."""

    convert: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import BeforeValidator

        return BeforeValidator(self.convert).__get_pydantic_core_schema__(source, handler)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def split(value: Any) -> Any:
    """Return names separated by commas, or in a list, as a tuple."""
    parts = _tuple(value.split(",") if isinstance(value, str) else value)
    if not isinstance(parts, tuple) or not all(isinstance(part, str) for part in parts):
        return parts
    return tuple(name for part in parts if (name := part.strip()))


def _bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    number = re.fullmatch(r"\s*([0-9]+)\s*([KMG]iB)\s*", value)
    if number is None:
        raise ValueError("must be a size such as 512MiB or 2GiB")
    return int(number[1]) * _UNITS[number[2]]


Launching = Literal["local", "ray"]
OnBadRow = Literal["stop", "skip"]
Pixels = Literal["exact", "fast"]
Bytes = Annotated[int, Converted(_bytes)]
AnyPath = Annotated[Path, Converted(lambda v: Path(v) if isinstance(v, str) else v)]
TextOrPath = Annotated[str, Converted(lambda v: os.fspath(v) if isinstance(v, os.PathLike) else v)]
Names = Annotated[tuple[str, ...], Converted(split)]
Texts = Annotated[tuple[str, ...], Converted(_tuple)]
Resources = Annotated[
    Mapping[str, float], Converted(lambda v: resources(v) if isinstance(v, (str, Mapping)) else v)
]


def setting(default: Any, help: str, /, *, ge: int | None = None, **option: Any) -> Any:
    """Field of a settings class; pydantic reads its metadata as arguments of `pydantic.Field`.

    Args:
        help: Text under `p2r-bench run --help` and in docs/cli.md.
        ge: Lower bound.
        option: Arguments of `click.option` that do not follow from the field, and `flag`, the option's own name.
    """
    metadata = {"description": help, "ge": ge, "json_schema_extra": option}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings that hold for a set of options and for each of its runs."""

    profile: TextOrPath | None = setting(
        None, "Profile name or TOML file. [default: the model folder's, else p2r]"
    )
    family: str | None = setting(
        None,
        "Model family, which fixes image sizes and the notation of boxes. [default: the profile's, else the checkpoint's]",
    )
    pixels: Pixels | None = setting(
        None,
        "Resizing of images: exact with Pillow, fast with torch. [default: the profile's]",
    )
    data_dir: AnyPath | None = setting(None, "Folder with the task's data.")
    scorer: str | None = setting(
        None, "Headline scorer of choice questions. [default: the task's own, else strict]"
    )
    out: AnyPath = setting(Path("results"), "Folder of the runs and the leaderboard.")
    seed: int = setting(0, "Seed of all random draws.")
    repeats: int = setting(1, "Runs of each sample, with different seeds.", ge=1)
    limit: int | None = setting(None, "Run only the first N samples.", ge=1)
    on_bad_row: OnBadRow = setting(
        "stop",
        "Policy for unreadable rows: list them and stop, or skip them; a run that skips is never complete.",
    )
    allow_outside: bool = setting(
        False, "Allow image paths that lead outside the data folder, also through links."
    )
    sample_ids: Texts = setting(
        (), "Run only this sample. Repeatable.", flag="--sample-id", multiple=True
    )
    retry_errors: bool = setting(
        True, "Run samples again if they ended in an error.", flag="--retry-errors/--keep-errors"
    )
    allow_mixed: bool = setting(
        False, "Resume although engine, versions, hardware or the served model changed."
    )
    canaries: str = setting(
        "warn",
        "Start-up checks of the engine: warn, strict, off, or skip=NAME,… of box, order, tokens, images, cache.",
        metavar="POLICY",
    )
    in_flight: int | None = setting(None, "Samples in progress at once.", ge=1)
    image_memory: Bytes = setting(
        IMAGE_MEMORY,
        "Pixels held in memory at once.",
        ge=1,
        type=str,
        default="1GiB",
        metavar="SIZE",
    )
    launcher: Launching = setting(
        "local", "Run samples in this process (local), or in replicas on a Ray cluster (ray)."
    )
    replicas: int = setting(
        1, "Replicas, each with engines, --in-flight and --image-memory of its own.", ge=1
    )
    ray_address: str | None = setting(
        None,
        "Ray cluster to join, or local for a new one on this machine. "
        "[default: RAY_ADDRESS, else one running here, else a new one]",
        metavar="ADDRESS",
    )
    replica_resources: Resources | None = setting(
        None,
        "Resources of each replica. [default: CPU=1, and GPU=1 if the cluster has GPUs]",
        metavar="GPU=N,CPU=N",
    )


@dataclass(frozen=True, kw_only=True)
class RunOptions(Settings):
    """Settings of a set of runs, one for each mode and task."""

    modes: Names = setting(
        ("p2r",),
        "Modes, separated by commas; `p2r-bench modes` lists them; panel stands for all built-in ones.",
        default="p2r",
        flag="--mode",
    )
    tasks: Names = setting(
        (), "Tasks, separated by commas, such as V-Star,HR-Bench; `p2r-bench tasks` lists them."
    )
    model: TextOrPath = setting(DEFAULT_MODEL, "Local folder, hub id, or the bundled p2r-tiny.")
    engine: str = setting(
        DEFAULT_ENGINE, "Engine that runs the model: transformers, vllm, openai, or a plugin's."
    )
    revision: str | None = setting(
        None, "Hub revision of the model; for a served model a name that vouches for its weights."
    )
    engine_args: Texts = setting(
        (),
        "Argument of the engine; with a role, of that role's engine only. Repeatable.",
        flag="--engine-arg",
        multiple=True,
        metavar="[ROLE:]K=V",
    )
    roles: Texts = setting(
        (),
        "Give a role of the mode, such as perceive or reason, its own model or engine. Repeatable.",
        flag="--role",
        multiple=True,
        metavar="ROLE=MODEL[@ENGINE]",
    )
    task_args: Texts = setting(
        (),
        "Parameter of the tasks; with a task, of that one only. Repeatable.",
        flag="--task-arg",
        multiple=True,
        metavar="[TASK:]K=V",
    )
    mode_args: Texts = setting(
        (),
        "Parameter of the modes; with a mode, of that one only. Repeatable.",
        flag="--mode-arg",
        multiple=True,
        metavar="[MODE:]K=V",
    )
    sets: Texts = setting(
        (),
        "Change a field of the profile; several values, separated by commas, make a run each. Repeatable.",
        flag="--set",
        multiple=True,
        metavar="FIELD=V[,V]",
    )
    judge_args: Texts = setting(
        (),
        "Parameter of a judge. Repeatable.",
        flag="--judge-arg",
        multiple=True,
        metavar="SCORER:K=V",
    )
