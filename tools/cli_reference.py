"""Writes docs/cli.md from the command line itself: python -m tools.cli_reference"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
HEAD = """# The command line

Written by `python -m tools.cli_reference` from the commands themselves; a test holds it up to date. `p2r-bench COMMAND --help`
says the same. Exit status: 0; 1 when samples or verdicts ended in errors, or something is missing; 2 for what the user can put
right, with a message that says how; 130 when interrupted.
"""


def reference() -> str:
    """The page: every command of the core with its arguments and options. Plugins' commands are not in it."""
    from p2r_bench.cli import main

    return (
        "\n".join([HEAD, *_sections(main, click.Context(main, info_name="p2r-bench"))]).rstrip()
        + "\n"
    )


def commands(
    command: click.Command, context: click.Context
) -> Iterator[tuple[click.Command, click.Context]]:
    """A command and all below it, in the order of its help."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from commands(below, click.Context(below, context, info_name=name))


def _sections(root: click.Command, context: click.Context) -> Iterator[str]:
    for command, at in commands(root, context):
        yield f"## `{at.command_path}`\n"
        yield _prose(command.help or "")
        usage = " ".join(command.collect_usage_pieces(at))
        yield f"```\n{at.command_path} {usage}\n```\n"
        rows = [record for p in command.params if (record := _record(p, at)) is not None]
        if rows:
            yield "| option | |\n|---|---|"
            yield "\n".join(f"| `{_cell(names)}` | {_cell(text)} |" for names, text in rows) + "\n"


def _record(parameter: click.Parameter, context: click.Context) -> tuple[str, str] | None:
    record = parameter.get_help_record(context)
    if record is None or not record[1]:  # an argument without a help text of its own
        return None
    names, text = record
    if isinstance(parameter, click.Option) and isinstance(parameter.envvar, str):
        text = f"{text} [env: {parameter.envvar}]"
    return names, text


def _prose(text: str) -> str:
    """Help text as Markdown: what click leaves unwrapped (after a `\\b`) is a code block."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", cleandoc(text)):
        if paragraph.startswith("\b"):
            code = paragraph.removeprefix("\b").strip()
            parts.append(f"```\n{code}\n```")
        else:
            parts.append(paragraph)
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    os.environ["P2R_BENCH_LOAD_PLUGINS"] = ""
    PAGE.write_text(reference(), "utf-8")
