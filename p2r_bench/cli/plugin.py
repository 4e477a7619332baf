"""`p2r-bench plugin`: a start for authors of plugins."""

from __future__ import annotations

from pathlib import Path

import click

from p2r_bench.scaffold import KINDS, Skeleton
from p2r_bench.terminal import echo


@click.group("plugin")
def command() -> None:
    """Start a plugin of your own. `p2r-bench plugins` lists the installed ones."""


@command.command("new")
@click.argument("name")
@click.option("--kind", required=True, type=click.Choice(KINDS), help="What the plugin adds.")
@click.option(
    "--out",
    default=".",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write the package's folder into.",
)
def new(name: str, kind: str, out: Path) -> None:
    """Write a small package that adds NAME, with a test that passes.

    NAME is what users will type. The package installs as it is; docs/plugins/tutorial.md goes through each kind.

    \b
    p2r-bench plugin new majority --kind mode
    """
    skeleton = Skeleton(name, kind)  # type: ignore[arg-type]
    folder = skeleton.write(out)
    echo(f"{folder}: the {kind} {name!r}, in {skeleton.package}/{kind}.py. Next:")
    for step in (f"cd {folder}", "pip install -e '.[test]'", "pytest", skeleton.usage):
        echo(f"  {step}")
