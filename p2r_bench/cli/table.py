"""Plain text tables, with columns as wide as their widest cell."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from p2r_bench.cli.escaping import one_line

GAP = "  "
_LONG, _SHORT = 32, 16


@dataclass(frozen=True)
class Column:
    """One column of a table that fits a width.

    Attributes:
        name: Name of the column, for options such as `--columns`.
        cells: One for each line; None for an empty cell.
        right: Align to the right, as for numbers.
        fixed: Keep it when the table does not fit. Other columns are left out from the last one on.
        elastic: Shorten its texts when the table still does not fit.
    """

    name: str
    header: str
    cells: tuple[str | None, ...]
    right: bool = False
    fixed: bool = False
    elastic: bool = False


def fitting_table(columns: Sequence[Column], room: int | None) -> tuple[str, list[str]]:
    """Return the table within `room` terminal columns (None: no limit), and the names of the columns left out.

    Long names are shortened first, then columns are left out, then names are shortened further.
    """
    kept, left_out = fitted(_squeezed(columns, room, _LONG), room, _taken)
    shown = _squeezed(kept, room, _SHORT)
    lines = list(zip(*(column.cells for column in shown), strict=True))
    right = [place for place, column in enumerate(shown) if column.right]
    return table([column.header for column in shown], lines, right=right), left_out


def fitted(
    columns: Sequence[Column], room: float | None, taken: Callable[[Sequence[Column]], float]
) -> tuple[list[Column], list[str]]:
    """Return the columns that fit, and the names of the others. `taken` gives the width of columns."""
    kept, left_out = list(columns), []
    while room is not None and taken(kept) > room:
        spare = next((column for column in reversed(kept) if not column.fixed), None)
        if spare is None:
            break
        kept.remove(spare)
        left_out.append(spare.name)
    return kept, left_out[::-1]


def column_width(column: Column) -> int:
    """Return the width of its widest cell, in terminal columns."""
    return max(width(cell_text(cell)) for cell in (column.header, *column.cells))


def _taken(columns: Sequence[Column]) -> float:
    return sum(column_width(column) + len(GAP) for column in columns) - len(GAP)


def _squeezed(columns: Sequence[Column], room: int | None, least: int) -> list[Column]:
    """Return the columns, elastic ones narrowed as needed, down to `least`."""
    over = 0 if room is None else int(_taken(columns)) - room
    return [
        _cut(c, max(least, column_width(c) - max(over, 0))) if c.elastic else c for c in columns
    ]


def _cut(column: Column, room: int) -> Column:
    """Return the column within a width, or wider where different texts would become equal."""
    texts = [cell and cell_text(cell) for cell in column.cells]
    while room < column_width(column):
        cut = [text and shortened(text, room) for text in texts]
        if len(set(cut)) == len(set(texts)):
            return replace(column, cells=tuple(cut))
        room += 1
    return column


def table(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[int] = ()
) -> str:
    """Return header and rows as aligned text.

    Args:
        rows: Cells are shown with `str` on one line, without control characters; None as "-".
        right: Indexes of the columns to align right, such as numbers.
    """
    cells = [[cell_text(cell) for cell in row] for row in (header, *rows)]
    widths = [max(width(row[i]) for row in cells) for i in range(len(header))]

    def line(row: list[str]) -> str:
        padded = [
            " " * (w - width(c)) + c if i in right else c + " " * (w - width(c))
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        return GAP.join(padded).rstrip()

    return "\n".join(line(row) for row in cells)


def cell_text(cell: object) -> str:
    """Return a cell's text in a `table`."""
    return "-" if cell is None else one_line(str(cell))


def width(text: str) -> int:
    """Return the terminal columns that a text takes: two for wide characters, none for combining ones."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def shortened(text: str, columns: int) -> str:
    """Return the text within `columns` terminal columns; "…" replaces the middle of a longer text."""
    if width(text) <= columns:
        return text
    tail = text[-max(1, columns // 2) :]
    head = text[: -len(tail)]
    while head and width(head) + 1 + width(tail) > columns:
        head = head[:-1]
    return f"{head}…{tail}"


def wrapped(text: str, room: int | None) -> list[str]:
    """Return lines of at most `room` terminal columns (None: one line); no line for an empty text."""
    text = one_line(text)
    if not text or room is None:
        return [text] if text else []
    return textwrap.wrap(text, max(room, 20))


def terminal_width() -> int | None:
    """Return the columns of the terminal, or COLUMNS; None if the output goes to a file or a pipe."""
    size = shutil.get_terminal_size((0, 0)).columns
    return size if size > 0 and (sys.stdout.isatty() or "COLUMNS" in os.environ) else None
