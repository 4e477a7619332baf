"""Plain text tables: columns as wide as their widest cell."""

from __future__ import annotations

from collections.abc import Sequence


def table(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[int] = ()
) -> str:
    """Header and rows as aligned text.

    Args:
        rows: Cells are shown with `str`, None as "-".
        right: Indexes of the columns to align right, such as numbers.
    """
    cells = [
        list(header),
        *([("-" if cell is None else str(cell)) for cell in row] for row in rows),
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def line(row: list[str]) -> str:
        padded = [
            c.rjust(w) if i in right else c.ljust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    return "\n".join(line(row) for row in cells)
