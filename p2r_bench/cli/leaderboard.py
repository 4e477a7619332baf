"""`p2r-bench leaderboard`: the table of all runs and of published figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2r_bench.cli.escaping import csv_text
from p2r_bench.cli.shared_options import out_option
from p2r_bench.errors import UserError, counted
from p2r_bench.terminal import echo

if TYPE_CHECKING:
    from p2r_bench.cli.leaderboard_view import View

_FILTERS = ("task", "mode", "model", "scorer", "source")


@click.command("leaderboard")
@click.option("--task", "tasks", multiple=True, metavar="NAME", help="Only this task. Repeatable.")
@click.option("--mode", "modes", multiple=True, metavar="NAME", help="Only this mode. Repeatable.")
@click.option(
    "--model", "models", multiple=True, metavar="PATTERN", help="Only these models, such as '*4B*'."
)
@click.option(
    "--scorer",
    "scorers",
    multiple=True,
    metavar="NAME",
    help="Rows by this scorer instead of the headline rows. Repeatable.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    type=click.Choice(["measured", "reference", "reported"]),
    help="Only rows of the runs in OUT (measured), of the bundled models as shipped (reference), or of "
    "publications (reported).",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "markdown", "latex", "csv"]),
    default="table",
    show_default=True,
    help="Output format; csv has one row per figure, with all columns.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print every figure with all columns as JSON."
)
@click.option(
    "--columns",
    metavar="A,B,C",
    help="Only these columns, in this order. An unknown name prints the list.",
)
@click.option("--wide", is_flag=True, help="All columns, whatever the terminal's width.")
@click.option(
    "--rebuild",
    is_flag=True,
    help="First rebuild the leaderboard from the run folders.",
)
@out_option
def command(
    style: str,
    as_json: bool,
    columns: str | None,
    wide: bool,
    rebuild: bool,
    out: Path,
    **given: tuple[str, ...],
) -> None:
    """Show figures by task: models and modes down, categories across, in percent.

    A run is ranked if it is complete, not mixed and on published data, among runs with the same data, profile and
    scorer (version and parameters included). Other runs are shown with the reason. Figures on synthetic, partial or
    unknown data have separate tables. Figures marked "reported" come from publications.

    Figures shipped with p2r-bench are shown beside those of the runs in OUT. A column with one value for all runs of a
    table becomes a line above it. Columns left out to fit the width the terminal are left out.
    """
    from p2r_bench.cli.leaderboard_view import views
    from p2r_bench.stats.ranking import ranked
    from p2r_bench.store.leaderboard import read_leaderboard

    if rebuild:
        _rebuild(out)
    rows = ranked(_filtered(read_leaderboard(out), {name: given[f"{name}s"] for name in _FILTERS}))
    names = [name.strip() for name in columns.split(",")] if columns else []
    if as_json:
        echo(json.dumps(_picked(rows, names), indent=2))
    elif style == "csv":
        echo(_csv(_picked(rows, names)), nl=False)
    else:
        echo(_formatted(views(rows), style, names, wide))


def _rebuild(out: Path) -> None:
    from p2r_bench.store.rebuild import rebuild_leaderboard

    done = rebuild_leaderboard(out)
    echo(f"{done.path}: rebuilt from {counted(done.runs, 'run')}", err=True)
    for reason in done.left_out:
        echo(f"left out: {reason}", err=True)


def _formatted(shown: list[View], style: str, names: list[str], wide: bool) -> str:
    from p2r_bench.cli import leaderboard_formats as formats
    from p2r_bench.cli.table import terminal_width

    if names:
        shown = formats.chosen(shown, names)
    elif wide:
        shown = [formats.widened(view) for view in shown]
    if style == "markdown":
        return formats.as_markdown(shown)
    if style == "latex":
        return formats.as_latex(shown)
    return formats.as_text(shown, None if wide or names else terminal_width())


def _filtered(
    rows: Sequence[dict[str, Any]], wanted: dict[str, tuple[str, ...]]
) -> list[dict[str, Any]]:
    from p2r_bench.cli.leaderboard_facts import source_of

    left = [row for row in rows if row["headline"] or wanted["scorer"]]
    for column, patterns in wanted.items():
        values = [source_of(row) if column == "source" else row[column] for row in left]
        kept = [
            row
            for row, value in zip(left, values, strict=True)
            if not patterns or _matches(value, patterns)
        ]
        if left and not kept:
            there = ", ".join(sorted({str(value) for value in values if value})) or "none"
            raise UserError(f"--{column}: no row with {', '.join(patterns)}; there are: {there}")
        left = kept
    return left


def _matches(value: str | None, patterns: Sequence[str]) -> bool:
    return value is not None and any(fnmatchcase(value.lower(), p.lower()) for p in patterns)


def _picked(rows: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    there = list(rows[0]) if rows else []
    if unknown := [name for name in names if rows and name not in there]:
        raise UserError(f"--columns: no column {', '.join(unknown)}; known are {', '.join(there)}")
    return [{name: row[name] for name in names} for row in rows] if names else rows


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: csv_text(v) if isinstance(v, str) else v for k, v in row.items()})
    return text.getvalue()
