"""Leaderboard tables as text, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from p2r_bench.cli import escaping
from p2r_bench.cli.leaderboard_view import View
from p2r_bench.cli.table import Column, column_width, fitted, fitting_table, wrapped
from p2r_bench.errors import UserError

_PAGE_POINTS = 345
_POINTS_A_CHARACTER, _POINTS_BETWEEN = 4.3, 8
"""Text width of LaTeX's article class, and the widths of \\footnotesize digits and of 2 \\tabcolsep."""


def chosen(shown: Sequence[View], names: Sequence[str]) -> list[View]:
    """Return the views with these columns only, in this order; a view without any of them is left out.

    Raises:
        UserError: No view has such a column; the message lists all columns.
    """
    there = dict.fromkeys(c.name for view in shown for c in (*view.columns, *view.hidden))
    if unknown := [name for name in names if name not in there]:
        raise UserError(f"--columns: no column {', '.join(unknown)}; known are {', '.join(there)}")
    return [
        replace(view, columns=tuple(replace(by_name[name], fixed=True) for name in picked))
        for view in shown
        if (by_name := {column.name: column for column in (*view.columns, *view.hidden)})
        and (picked := [name for name in names if name in by_name])
    ]


def widened(view: View) -> View:
    """Return the view with every column that has a cell, including those with one value. No column may be left out."""
    filled = [column for column in view.hidden if any(cell is not None for cell in column.cells)]
    columns = tuple(replace(column, fixed=True) for column in (*view.columns, *filled))
    return replace(view, columns=columns)


def as_text(shown: Iterable[View], columns: int | None) -> str:
    """Return tables that fit a terminal with this number of columns; None for no limit.

    Columns are left out from the last one on; then model names are shortened.
    """
    blocks = []
    left_out: dict[str, None] = {}
    for view in shown:
        lines, gone = fitting_table(view.columns, columns)
        left_out |= dict.fromkeys(gone)
        above = [
            line for text in (view.title, "; ".join(view.facts)) for line in wrapped(text, columns)
        ]
        below = [line for note in view.notes for line in wrapped(note, columns)]
        blocks.append("\n".join([*above, lines, *below]))
    if left_out:
        note = (
            f"Columns left out to fit the width: {', '.join(left_out)}. See --wide and --columns."
        )
        blocks.append("\n".join(wrapped(note, columns)))
    return "\n\n".join(blocks)


def as_markdown(shown: Iterable[View]) -> str:
    """Return Markdown tables."""
    blocks = []
    for view in shown:
        facts = [escaping.markdown("; ".join(view.facts)), ""] if view.facts else []
        blocks.append(
            "\n".join(
                [
                    f"**{escaping.markdown(view.title)}**",
                    "",
                    *facts,
                    _pipes(escaping.markdown(column.header) for column in view.columns),
                    _pipes("---:" if column.right else "---" for column in view.columns),
                    *(_pipes(row) for row in _rows(view.columns, escaping.markdown, "–")),
                    *(f"\n{escaping.markdown(note)}" for note in view.notes),
                ]
            )
        )
    return "\n\n".join(blocks)


def as_latex(shown: Iterable[View]) -> str:
    """Return a LaTeX `table` for each view, within the text width of an article.

    Columns are left out from the last one on. A table that is still too wide is scaled down.
    """
    return "\n\n".join(_latex(view) for view in shown)


def _latex(view: View) -> str:
    kept, gone = fitted(view.columns, _PAGE_POINTS, _latex_points)
    scaled = _latex_points(kept) > _PAGE_POINTS
    packages = r"\usepackage{booktabs}" + (r", \usepackage{graphicx}" if scaled else "")
    caption = ". ".join(filter(None, (view.title, "; ".join(view.facts), *view.notes)))
    body = [
        rf"\begin{{tabular}}{{{''.join('r' if c.right else 'l' for c in kept)}}}",
        r"\toprule",
        " & ".join(escaping.latex(column.header) for column in kept) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in _rows(kept, escaping.latex, "--")),
        r"\bottomrule",
        r"\end{tabular}" + ("}" if scaled else ""),
    ]
    left_out = [f"% Columns left out to fit the width: {escaping.one_line(', '.join(gone))}"]
    return "\n".join(
        [
            f"% Needs {packages}",
            *(left_out if gone else []),
            r"\begin{table}",
            r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{escaping.latex(caption)}}}",
            *([r"\resizebox{\textwidth}{!}{%"] if scaled else []),
            *body,
            r"\end{table}",
        ]
    )


def _rows(columns: Sequence[Column], escape: Callable[[str], str], none: str) -> list[list[str]]:
    lines = zip(*(column.cells for column in columns), strict=True)
    return [[none if cell is None else escape(cell) for cell in line] for line in lines]


def _pipes(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _latex_points(columns: Sequence[Column]) -> float:
    return sum(column_width(column) * _POINTS_A_CHARACTER + _POINTS_BETWEEN for column in columns)
