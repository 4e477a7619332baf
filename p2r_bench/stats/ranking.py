"""Ranks of figures, among comparable rows only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]

_FIGURE = ("task", "subset", "category", "metric", "per")
_CONDITIONS = (
    *("data_kind", "data_digest", "profile_hash"),
    *("scorer", "scorer_version", "scorer_params_hash"),
)


def ranked(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the rows with columns `rank` and `unranked`, best first within each figure of a task.

    Rows are ranked among those with the same figure and the same `conditions`; equal values share a
    rank. A row that cannot be ranked has rank None and the reasons in `unranked`, and is sorted by its value
    like the others.
    """
    figures: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        figures.setdefault(tuple(row[name] for name in _FIGURE), []).append(row)
    result = []
    for figure in figures.values():
        figure.sort(key=lambda row: -1.0 if row["value"] is None else row["value"], reverse=True)
        values: dict[tuple[Any, ...], list[float]] = {}
        for row in figure:
            if not reasons(row):
                values.setdefault(conditions(row), []).append(row["value"])
        for row in figure:
            why = reasons(row)
            rank = None if why else values[conditions(row)].index(row["value"]) + 1
            result.append({**row, "rank": rank, "unranked": ", ".join(why) or None})
    return result


def conditions(row: Row) -> tuple[Any, ...]:
    """Return the facts that comparable rows share: data, profile, and scorer with its rules."""
    return tuple(row[name] for name in _CONDITIONS)


def data_kind(row: Row) -> str:
    """Return `published`, `partial`, `synthetic` or `unknown`. Reported rows are about published data."""
    return "published" if row["source"] == "reported" else row["data_kind"] or "unknown"


def reasons(row: Row) -> list[str]:
    """Return the reasons why a row has no rank; empty for a ranked row."""
    if row["source"] == "reported":
        return ["reported"]
    kind = data_kind(row)
    found = {
        "incomplete": not row["complete"],
        "mixed sessions": bool(row["mixed"]),
        f"{kind} data": kind != "published",
        row["reason"] or "nothing scored": row["value"] is None,
    }
    return [reason for reason, applies in found.items() if applies]
