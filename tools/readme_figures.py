"""Write the measured figures of results/reference.parquet into README.md, between their two marks.

python -m tools.readme_figures
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from p2r_bench.store.reference import reference_rows

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- figures: python -m tools.readme_figures -->\n", "<!-- /figures -->\n"
MODES = ("default", "thinking", "p2r", "oracle")

Row = Mapping[str, Any]


def main() -> None:
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text("utf-8").partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{readme}: the marks {BEGIN.strip()} and {END.strip()} are not there")
    table = figures(reference_rows())
    readme.write_text(f"{before}{BEGIN}{table}{END}{after}", "utf-8")
    print(table)


def figures(rows: Sequence[Row]) -> str:
    """Models and modes down, benchmarks across, as Markdown: accuracy in percent with its 95 % interval.

    Empty when nothing complete was measured.
    """
    headline = [row for row in rows if row["headline"] and row["category"] is None]
    shown = [
        row
        for row in headline
        if row["metric"] == "accuracy" and row["source"] == "measured" and row["complete"]
    ]
    if not shown:
        return ""
    across = sorted({(row["task"], row["subset"] or "") for row in shown})
    lines = sorted(
        {(row["model"], row["mode"]) for row in shown},
        key=lambda line: (line[0], MODES.index(line[1]) if line[1] in MODES else len(MODES)),
    )
    found = {((r["model"], r["mode"]), (r["task"], r["subset"] or "")): r for r in shown}
    header = ["model", "mode", *(_heading(column, shown) for column in across)]
    cells = [
        [
            f"`{model}`",
            f"`{mode}`",
            *(_cell(found.get(((model, mode), column))) for column in across),
        ]
        for model, mode in lines
    ]
    rules = ["---", "---", *("---:" for _ in across)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [header, rules, *cells])


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    low, high = 100 * row["ci_low"], 100 * row["ci_high"]
    return f"{100 * row['value']:.1f} [{low:.1f}, {high:.1f}]"


def _heading(column: tuple[str, str], rows: Sequence[Row]) -> str:
    counts = {row["n"] for row in rows if (row["task"], row["subset"] or "") == column}
    return f"{' '.join(filter(None, column))}, n = {'–'.join(map(str, sorted(counts)))}"


if __name__ == "__main__":
    main()
