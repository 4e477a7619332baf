"""Presets: values of a configuration that ship with the trainer."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from p2r_bench.errors import UserError


def preset_names() -> tuple[str, ...]:
    """Presets of this distribution."""
    folder = resources.files("p2r_bench_pra_grpo") / "presets"
    return tuple(
        sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))
    )


def read_preset(name: object) -> dict[str, Any]:
    """Return the values of a preset.

    Raises:
        UserError: The name is unknown.
    """
    if name not in preset_names():
        raise UserError(f"preset = {name!r}: no such preset; known: {', '.join(preset_names())}")
    file = resources.files("p2r_bench_pra_grpo") / "presets" / f"{name}.toml"
    return tomllib.loads(file.read_text("utf-8"))


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `over`, table by table."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result
