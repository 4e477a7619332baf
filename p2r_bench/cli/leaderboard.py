"""`p2r-bench leaderboard`: the table of all runs, beside the published figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2r_bench.errors import UserError

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
    type=click.Choice(["measured", "reported"]),
    help="Only rows measured here, or only those from publications.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "markdown", "latex", "csv"]),
    default="table",
    show_default=True,
    help="csv has every figure in a row of its own, with all columns.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print every figure with all columns as JSON."
)
@click.option(
    "--out",
    default="results",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the runs and the leaderboard.",
)
def command(style: str, as_json: bool, out: Path, **given: tuple[str, ...]) -> None:
    """Show figures by task: models and modes down, categories across, in percent.

    Complete runs are ranked, among runs on the same data by the same scorer. Incomplete runs have no
    rank; beside their value is what it would be if everything missing or failed were wrong, and right.
    Reported figures come from publications.
    """
    from p2r_bench.cli.leaderboard_view import views
    from p2r_bench.store.leaderboard import ranked, read_leaderboard

    rows = read_leaderboard(out)
    chosen = ranked(_filtered(rows, {name: given[f"{name}s"] for name in _FILTERS}))
    if as_json:
        click.echo(json.dumps(chosen, indent=2))
    elif style == "csv":
        click.echo(_csv(chosen), nl=False)
    else:
        click.echo("\n\n".join(_render(view, style) for view in views(chosen)))


def _filtered(
    rows: Sequence[dict[str, Any]], wanted: dict[str, tuple[str, ...]]
) -> list[dict[str, Any]]:
    left = [row for row in rows if row["headline"] or wanted["scorer"]]
    for column, patterns in wanted.items():
        kept = [row for row in left if not patterns or _matches(row[column], patterns)]
        if left and not kept:
            there = ", ".join(sorted({str(row[column]) for row in left if row[column]})) or "none"
            raise UserError(f"--{column}: no row with {', '.join(patterns)}; there are: {there}")
        left = kept
    return left


def _matches(value: str | None, patterns: Sequence[str]) -> bool:
    return value is not None and any(fnmatchcase(value.lower(), p.lower()) for p in patterns)


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _render(view: View, style: str) -> str:
    if style == "markdown":
        return _markdown(view)
    if style == "latex":
        return _latex(view)
    from p2r_bench.cli.table import table

    return f"{view.title}\n{table(view.header, view.rows, right=view.right)}"


def _markdown(view: View) -> str:
    lines = [
        f"**{view.title}**",
        "",
        _pipes(view.header),
        _pipes(["---:" if i in view.right else "---" for i in range(len(view.header))]),
        *(_pipes([_cell(cell).replace("|", "\\|") for cell in row]) for row in view.rows),
    ]
    return "\n".join(lines)


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _latex(view: View) -> str:
    columns = "".join("r" if i in view.right else "l" for i in range(len(view.header)))
    rows = [" & ".join(_escaped(_cell(cell)) for cell in row) + r" \\" for row in view.rows]
    return "\n".join(
        [
            f"% {view.title}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(_escaped, view.header)) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


_LATEX = {c: "\\" + c for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
}


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in text)


def _cell(cell: object) -> str:
    return "–" if cell is None else str(cell)
