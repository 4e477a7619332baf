"""The hooks of p2r-bench, and nothing else. docs/plugins/hooks.md shows each with an example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    import click

HOOKS_VERSION = 2
"""Raised when a hook is added or changed; a plugin asks for one with `requires_hooks = N` in its module."""

hookspec = pluggy.HookspecMarker("p2r_bench")


class Register(Protocol):
    """Function that adds one name. `target` is "package.module:Class" and is imported on first use."""

    def __call__(self, name: str, target: str) -> None: ...


@hookspec
def register_modes(register: Register) -> None:
    """Add modes: classes made as `Mode(**params)`, with `async solve(sample, ask, profile)`."""


@hookspec
def register_tasks(register: Register) -> None:
    """Add tasks: classes made as `Task()`, with `samples(source)` and `metrics`."""


@hookspec
def register_judges(register: Register) -> None:
    """Add judges by scorer name: classes made as `Judge(**params)`, with `async judge(sample, prediction)`."""


@hookspec
def register_engines(register: Register) -> None:
    """Add engines: classes made as `Engine(config)`, with `start`, `generate`, `capabilities` and `close`."""


@hookspec
def register_trainers(register: Register) -> None:
    """Add trainers: classes made as `Trainer(config)`, with `plan`, `run` and `status`."""


@hookspec
def register_families(register: Register) -> None:
    """Add model families: subclasses of `p2r_bench.families.Family`, made as `Family()`."""


@hookspec
def register_commands(cli: click.Group) -> None:
    """Add commands to `p2r-bench`, as in `@cli.command()`; `cli.lazy(name, target, help)` imports on first use."""
