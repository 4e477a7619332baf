"""Plain text tables: columns as wide as their widest cell, in terminal columns."""

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
    """One column of a table that may have to leave some out.

    Attributes:
        name: As an option such as `--columns` takes it.
        cells: One for each line; None where there is nothing to say.
        right: Whether it is aligned right, as numbers are.
        fixed: Whether it stays when there is too little room. The others go from the last to the first.
        elastic: Whether its texts may be shortened when that is not enough.
    """

    name: str
    header: str
    cells: tuple[str | None, ...]
    right: bool = False
    fixed: bool = False
    elastic: bool = False


def fitting_table(columns: Sequence[Column], room: int | None) -> tuple[str, list[str]]:
    """The table in at most so many terminal columns (None: no limit), and the names of the columns left out.

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
    """The columns that have room, and the names of the others. `taken`: the room that columns take."""
    kept, left_out = list(columns), []
    while room is not None and taken(kept) > room:
        spare = next((column for column in reversed(kept) if not column.fixed), None)
        if spare is None:
            break
        kept.remove(spare)
        left_out.append(spare.name)
    return kept, left_out[::-1]


def column_width(column: Column) -> int:
    """Width of its widest cell, in terminal columns."""
    return max(width(cell_text(cell)) for cell in (column.header, *column.cells))


def _taken(columns: Sequence[Column]) -> float:
    return sum(column_width(column) + len(GAP) for column in columns) - len(GAP)


def _squeezed(columns: Sequence[Column], room: int | None, least: int) -> list[Column]:
    """The columns with the elastic ones as much narrower as is needed, but not below `least`."""
    over = 0 if room is None else int(_taken(columns)) - room
    return [
        _cut(c, max(least, column_width(c) - max(over, 0))) if c.elastic else c for c in columns
    ]


def _cut(column: Column, room: int) -> Column:
    """The column in so much room, or in as much more as it takes to keep different texts different."""
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
    """Header and rows as aligned text.

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
    """Return a cell as `table` shows it."""
    return "-" if cell is None else one_line(str(cell))


def width(text: str) -> int:
    """Return the terminal columns that a text takes: two for wide characters, none for combining ones."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def shortened(text: str, columns: int) -> str:
    """The text in at most so many columns, its middle replaced by "…" where it is longer."""
    if width(text) <= columns:
        return text
    tail = text[-max(1, columns // 2) :]
    head = text[: -len(tail)]
    while head and width(head) + 1 + width(tail) > columns:
        head = head[:-1]
    return f"{head}…{tail}"


def wrapped(text: str, room: int | None) -> list[str]:
    """Lines of at most so many terminal columns (None: one line); none for an empty text."""
    text = one_line(text)
    if not text or room is None:
        return [text] if text else []
    return textwrap.wrap(text, max(room, 20))


def terminal_width() -> int | None:
    """Columns of the terminal, or of COLUMNS; None where the output goes to a file or a pipe."""
    size = shutil.get_terminal_size((0, 0)).columns
    return size if size > 0 and (sys.stdout.isatty() or "COLUMNS" in os.environ) else None
