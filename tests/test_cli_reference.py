"""Every command and every option is documented, in its help and in docs/cli.md."""

from __future__ import annotations

import click
import pytest

from p2r_bench.cli import main
from p2r_bench.plugins import discover
from tools.cli_reference import PAGE, commands, reference

COMMANDS = list(commands(main, click.Context(main, info_name="p2r-bench")))


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == reference(), "run: python -m tools.cli_reference"


def test_the_page_has_every_command() -> None:
    paths = {context.command_path for _, context in COMMANDS}
    assert {f"p2r-bench {name}" for name in discover().names("command")} <= paths
    page = PAGE.read_text("utf-8")
    assert [path for path in paths if f"\n## `{path}`\n" not in page] == []


@pytest.mark.parametrize(
    ("command", "context"), COMMANDS, ids=lambda c: getattr(c, "command_path", "")
)
def test_command_and_options_have_help(command: click.Command, context: click.Context) -> None:
    assert command.help and command.help.strip(), f"{context.command_path} has no docstring"
    silent = [
        p.name for p in command.params if isinstance(p, click.Option) and not (p.help or p.hidden)
    ]
    assert not silent, f"{context.command_path}: options without help: {silent}"


def test_the_list_of_commands_says_what_each_does() -> None:
    for entry in discover().entries("command"):
        assert entry.target.help.strip(), entry.name
