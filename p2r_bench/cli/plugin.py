"""`p2r-bench plugin`: templates for authors of plugins."""

from __future__ import annotations

from pathlib import Path

import click

from p2r_bench.scaffold import KINDS, Skeleton
from p2r_bench.terminal import echo


@click.group("plugin")
def command() -> None:
    """Create a plugin package. `p2r-bench plugins` lists the installed plugins."""


@command.command("new")
@click.argument("name")
@click.option(
    "--kind", required=True, type=click.Choice(KINDS), help="Kind of thing that the plugin adds."
)
@click.option(
    "--out",
    default=".",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Parent folder of the new package.",
)
def new(name: str, kind: str, out: Path) -> None:
    """Write a small package that adds NAME, with a passing test.

    NAME is the name that users type. The package installs as it is; docs/plugins/tutorial.md explains each kind.

    \b
    p2r-bench plugin new majority --kind mode
    """
    skeleton = Skeleton(name, kind)  # type: ignore[arg-type]
    folder = skeleton.write(out)
    echo(f"{folder}: the {kind} {name!r}, in {skeleton.package}/{kind}.py. Next:")
    for step in (f"cd {folder}", "pip install -e '.[test]'", "pytest", skeleton.usage):
        echo(f"  {step}")
