"""Leaderboard rows as the tables of a paper: one per task and subset, categories across."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]

ALL = "all"


@dataclass(frozen=True)
class View:
    """One table to print. `right`: indexes of the columns that hold numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    right: tuple[int, ...]


def views(ranked: Iterable[Row]) -> list[View]:
    """Tables of ranked rows, in the order in which tasks and subsets come."""
    tables: dict[tuple[str, str | None], list[Row]] = {}
    for row in ranked:
        tables.setdefault((row["task"], row["subset"]), []).append(row)
    return [_view(task, subset, rows) for (task, subset), rows in tables.items()]


def _view(task: str, subset: str | None, rows: Sequence[Row]) -> View:
    lines: dict[tuple[Any, ...], dict[tuple[str, str | None], Row]] = {}
    for row in rows:
        names = ("run_id", "source", "model", "mode", "scorer")
        figures = lines.setdefault(tuple(row[name] for name in names), {})
        figures[row["metric"], row["category"]] = row
    across = list(dict.fromkeys(figure for line in lines.values() for figure in line))
    across.sort(key=lambda figure: (figure[0] != "accuracy", figure[1] is not None))
    ordered = sorted(lines.values(), key=_value, reverse=True)
    leads = [next(iter(line.values())) for line in ordered]
    columns: list[tuple[str, bool, list[str | None]]] = [
        ("#", True, [None if (r := _lead(line)["rank"]) is None else str(r) for line in ordered]),
        ("model", False, [lead["model"] for lead in leads]),
        ("mode", False, [lead["mode"] for lead in leads]),
    ]
    for metric, category in across:
        if metric == "accuracy" or category is None:
            name = category or (ALL if metric == "accuracy" else metric.replace("_", " "))
            cells = [_percent(line.get((metric, category))) for line in ordered]
            columns.append((name, True, cells))
            if (metric, category) == across[0]:
                columns.append(("95 % CI", True, [_ci(_lead(line)) for line in ordered]))
                columns.append(
                    ("incomplete", False, [_incomplete(_lead(line)) for line in ordered])
                )
    columns += [
        ("n", True, [_count(_lead(line)["n"]) for line in ordered]),
        ("calls", True, [_number(_lead(line)["calls_per_sample"]) for line in ordered]),
        ("tokens in", True, [_number(_lead(line)["prompt_tokens_per_sample"]) for line in ordered]),
        ("out", True, [_number(_lead(line)["output_tokens_per_sample"]) for line in ordered]),
        ("s", True, [_number(_lead(line)["seconds_per_sample"]) for line in ordered]),
        ("scorer", False, [lead["scorer"] for lead in leads]),
        ("profile", False, _where_different([lead["profile"] for lead in leads])),
        (
            "data",
            False,
            _where_different([(lead["data_digest"] or "")[:8] or None for lead in leads]),
        ),
        ("run", False, [(lead["run_id"] or "")[-8:] or None for lead in leads]),
        ("source", False, [lead["source"] for lead in leads]),
    ]
    shown = [column for column in columns if any(cell is not None for cell in column[2])]
    return View(
        title=" ".join(filter(None, (task, subset))) + " – accuracy in percent",
        header=tuple(name for name, _, _ in shown),
        rows=tuple(zip(*(cells for _, _, cells in shown), strict=True)),
        right=tuple(i for i, (_, number, _) in enumerate(shown) if number),
    )


def _lead(line: Mapping[tuple[str, str | None], Row]) -> Row:
    """The row that stands for a line: the overall accuracy where there is one."""
    return line.get(("accuracy", None)) or next(iter(line.values()))


def _value(line: Mapping[tuple[str, str | None], Row]) -> float:
    value = _lead(line)["value"]
    return -1.0 if value is None else float(value)


def _percent(row: Row | None) -> str | None:
    return None if row is None or row["value"] is None else f"{100 * row['value']:.1f}"


def _ci(row: Row) -> str | None:
    return _range(row["ci_low"], row["ci_high"])


def _range(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{100 * low:.1f}–{100 * high:.1f}"


def _incomplete(row: Row) -> str | None:
    if row["source"] == "reported" or row["complete"]:
        return None
    bounds = _range(row["value_low"], row["value_high"])
    counts = [f"{row[name]} {word}" for name, word in _GAPS if row[name]]
    if row["n_missing"] is None:
        counts.append("stopped early")
    return " ".join(filter(None, (bounds, f"({', '.join(counts)})" if counts else "not judged")))


_GAPS = (("n_errors", "errors"), ("n_missing", "missing"))


def _where_different(cells: list[str | None]) -> list[str | None]:
    """The cells where there is a difference to see, otherwise none."""
    return cells if len(set(filter(None, cells))) > 1 else [None] * len(cells)


def _count(value: int | None) -> str | None:
    return None if value is None else str(value)


def _number(value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
