"""`p2r-bench train`: runs trainer plugins."""

from __future__ import annotations

import json
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from p2r_bench.cli.table import table
from p2r_bench.errors import UserError
from p2r_bench.plugins import discover, registry
from p2r_bench.terminal import echo
from p2r_bench.types import Trainer

config_option = click.option(
    "--config",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The trainer's TOML file.",
)
rounds_option = click.option(
    "--rounds",
    type=click.IntRange(min=1),
    help="Total number of rounds, overrides the file's `rounds`; finished ones are kept.",
)
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class Trainers(click.Group):
    """One subcommand per registered trainer, and `status`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*discover().names("trainer"), *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        return _training(cmd_name)


@click.command("train", cls=Trainers)
def command() -> None:
    """Train a model with a trainer plugin: p2r-bench train NAME --config FILE."""


@command.command("status")
@click.argument("name")
@config_option
@rounds_option
@as_json_option
def status(name: str, config: Path, rounds: int | None, as_json: bool) -> None:
    """Show the progress of trainer NAME with this configuration."""
    report = _trainer(name, config, rounds).status()
    echo(
        json.dumps(report, indent=2) if as_json else table(("FIELD", "VALUE"), list(report.items()))
    )


def _training(name: str) -> click.Command:
    @click.command(name, short_help=f"Train with {name}.")
    @config_option
    @rounds_option
    @click.option("--dry-run", is_flag=True, help="Print the plan without running it.")
    @as_json_option
    def train(config: Path, rounds: int | None, dry_run: bool, as_json: bool) -> None:
        trainer = _trainer(name, config, rounds)
        if dry_run:
            echo(json.dumps(list(trainer.plan()), indent=2) if as_json else _steps(trainer.plan()))
        else:
            trainer.run()

    train.help = (
        f"Run the remaining steps of the plan of {name}; safe to call again after an interruption."
    )
    return train


def _trainer(name: str, config: Path, rounds: int | None) -> Trainer:
    found = registry()
    if not found.names("trainer"):
        raise UserError(
            "no trainer is installed; in a checkout of p2r-bench, pip install ./trainers/pra_grpo installs pra-grpo"
        )
    kind = found.get("trainer", name)
    try:
        values = tomllib.loads(config.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{config}: not valid TOML: {error}") from error
    trainer: Trainer = kind(values if rounds is None else {**values, "rounds": rounds})
    return trainer


def _steps(plan: Sequence[Mapping[str, Any]]) -> str:
    """Return the plan as a table, or as a block of lines per step if a step has lists or tables."""
    if any(isinstance(value, (list, tuple, Mapping)) for step in plan for value in step.values()):
        return "\n\n".join(_block(number, step) for number, step in enumerate(plan, 1))
    columns = list(dict.fromkeys(key for step in plan for key in step))
    rows = [(number, *(step.get(key) for key in columns)) for number, step in enumerate(plan, 1)]
    return table(("STEP", *(key.upper() for key in columns)), rows, right=(0,))


def _block(number: int, step: Mapping[str, Any]) -> str:
    """Return a step under its number: commands in one line, other lists with one entry per line."""
    fields = dict(step)
    lines = [f"{number}. {fields.pop('step', '')}".rstrip()]
    for key, value in fields.items():
        if value in (None, [], (), {}):
            continue
        if key == "command":
            shown = [shlex.join(map(str, value)) if not isinstance(value, str) else value]
        elif isinstance(value, Mapping):
            shown = [f"{name}={item}" for name, item in value.items()]
        elif isinstance(value, (list, tuple)):
            shown = (
                [" ".join(map(str, value))]
                if all(isinstance(v, int) for v in value)
                else [*map(str, value)]
            )
        else:
            shown = [str(value)]
        lines += [f"   {key + ':' if not n else '':<12} {text}" for n, text in enumerate(shown)]
    return "\n".join(lines)
