"""Lines of a run's summary about its data: chance level, kind, skipped rows, missing figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_KINDS = {
    "partial": "part of the published data",
    "synthetic": "synthetic data",
    "unknown": "not known to be the published data",
}

Row = Mapping[str, Any]


def data_lines(rows: Iterable[Row]) -> list[str]:
    """Return the lines for the metric rows of one run."""
    headlines = [row for row in rows if row["headline"]]
    lines = [line for row in headlines if (line := _chance(row)) is not None]
    for row in headlines[:1]:
        if kind := _KINDS.get(row["data_kind"]):
            note = f" ({row['data_note']})" if row["data_note"] else ""
            lines.append(f"{kind}{note}: not comparable with published figures")
        if row["n_skipped_rows"]:
            lines.append(f"{row['n_skipped_rows']} bad rows were skipped: the run is not complete")
    reasons = {
        f"{row['metric']} cannot be computed: {row['reason']}" for row in headlines if row["reason"]
    }
    return [*lines, *sorted(reasons)]


def _chance(row: Row) -> str | None:
    if row["category"] is not None or row["metric"] != "accuracy" or row["chance"] is None:
        return None
    subset = f" of {row['subset']}" if row["subset"] else ""
    text = f"chance level{subset}: {100 * row['chance']:.1f} %"
    counts = (row["n"], row["n_errors"], row["n_not_applicable"], row["n_missing"] or 0)
    mixed = sum(counts) > row["n_chance"] * row["repeats"]
    return f"{text}, over its {row['n_chance']} choice questions alone" if mixed else text
