"""Leaderboard rows as tables like those of a paper: one table per task, subset and kind of data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from p2r_bench.cli.leaderboard_facts import facts_of, source_of
from p2r_bench.cli.table import Column
from p2r_bench.stats.ranking import conditions, data_kind, reasons

Row = Mapping[str, Any]
Figure = tuple[str, str | None]
"""Metric and category."""

_COUNTS = {
    "n_errors": "errors",
    "n_missing": "missing",
    "n_skipped_rows": "skipped rows",
    "n_no_answer": "no answer",
    "n_cut_off": "cut off",
    "n_unparsed_boxes": "unparsed boxes",
    "n_no_box": "no box",
    "n_not_applicable": "not applicable",
}
_COSTS = {
    "calls": ("calls", "calls_per_sample"),
    "tokens_in": ("tokens in", "prompt_tokens_per_sample"),
    "tokens_out": ("tokens out", "output_tokens_per_sample"),
    "latency": ("latency (s)", "seconds_per_sample"),
}


@dataclass(frozen=True)
class View:
    """One table to show.

    Attributes:
        facts: Facts shared by all runs of the table, as "name: value".
        columns: Columns of the table, the most important first.
        hidden: Columns without information about single lines: all equal, all zero, or empty.
    """

    title: str
    facts: tuple[str, ...]
    columns: tuple[Column, ...]
    hidden: tuple[Column, ...]
    notes: tuple[str, ...] = ()


def views(ranked: Iterable[Row]) -> list[View]:
    """Return the tables of ranked rows. Figures on unpublished data have separate tables, at the end."""
    tables: dict[tuple[str, str | None, str], list[Row]] = {}
    for row in ranked:
        tables.setdefault((row["task"], row["subset"], data_kind(row)), []).append(row)
    apart = sorted(tables.items(), key=lambda table: table[0][2] != "published")
    return [_view(task, subset, kind, rows) for (task, subset, kind), rows in apart]


class _Line:
    """A run, or a publication's model, with its figures of one table."""

    def __init__(self) -> None:
        self.figures: dict[Figure, Row] = {}

    @property
    def lead(self) -> Row:
        """The row that represents the line: the overall accuracy if present."""
        return self.figures.get(("accuracy", None)) or next(iter(self.figures.values()))


def _view(task: str, subset: str | None, kind: str, rows: Sequence[Row]) -> View:
    found: dict[tuple[Any, ...], _Line] = {}
    for row in rows:
        names = ("run_id", "reference", "model", "mode", "scorer")
        line = found.setdefault(tuple(row[name] for name in names), _Line())
        line.figures[row["metric"], row["category"]] = row
    lines = sorted(found.values(), key=_value, reverse=True)
    facts = facts_of([line.lead for line in lines])
    levels, notes = _chance(lines)
    if levels:
        place = sum(_value(line) >= levels.get(_main(lines), -1.0) for line in lines)
        lines.insert(place, _chance_line(levels))
        facts = [fact.with_gap(place) for fact in facts]
    ranks, letters = _ranks([line.lead for line in lines])
    columns = [
        Column("rank", "#", ranks, right=True, fixed=True),
        Column("model", "model", _plain(lines, "model"), fixed=True, elastic=True),
        Column("mode", "mode", _plain(lines, "mode"), fixed=True),
        _figure(lines, _main(lines), n_in_header=False),
        Column("n", "n", _counts(lines, "n"), right=True, fixed=True),
        Column("note", "note", _notes(lines), fixed=True),
        Column("bounds", "bounds", tuple(_bounds(line.lead) for line in lines), right=True),
        *(Column(fact.name, fact.header, fact.cells) for fact in facts),
        *(
            Column(name.removeprefix("n_"), text, _counts(lines, name), right=True)
            for name, text in _COUNTS.items()
        ),
        *(_figure(lines, figure) for figure in _across(lines)),
        *(
            Column(name, text, _numbers(lines, stored), right=True)
            for name, (text, stored) in _COSTS.items()
        ),
        Column("run", "run", tuple((line.lead["run_id"] or "")[-8:] or None for line in lines)),
    ]
    notes += _without_value(lines)
    if letters:
        notes.append(
            "Ranks with different letters are not comparable: data, profile or scorer differ."
        )
    same = {fact.name for fact in facts if not fact.differs} | {"source"}
    hidden = [column for column in columns if column.name in same or _says_nothing(column)]
    return View(
        title=_title(task, subset, kind, _main(lines)[0], rows),
        facts=tuple(f"{fact.header}: {fact.value}" for fact in facts if fact.value),
        columns=tuple(column for column in columns if column not in hidden),
        hidden=tuple(hidden),
        notes=tuple(notes),
    )


def _says_nothing(column: Column) -> bool:
    nothing = {None, "0"} if f"n_{column.name}" in _COUNTS else {None}
    return {*column.cells} <= nothing


def _without_value(lines: Sequence[_Line]) -> list[str]:
    """Return the reasons why figures have no value."""
    rows = [row for line in lines for row in line.figures.values()]
    return list(dict.fromkeys(f"{row['metric']}: {row['reason']}" for row in rows if row["reason"]))


def _title(task: str, subset: str | None, kind: str, metric: str, rows: Sequence[Row]) -> str:
    name = " ".join(filter(None, (task, subset)))
    if kind != "published":
        name += f", {kind} data (not ranked, not comparable with published figures)"
    intervals = any(row["ci_low"] is not None for row in rows)
    return f"{name}: {metric} in percent{' [95 % interval]' if intervals else ''}"


def _main(lines: Sequence[_Line]) -> Figure:
    figures = [figure for line in lines for figure in line.figures]
    return ("accuracy", None) if ("accuracy", None) in figures else figures[0]


def _across(lines: Sequence[_Line]) -> list[Figure]:
    """Return the figures beside the main one: categories of the accuracy, then other metrics overall."""
    figures = dict.fromkeys(figure for line in lines for figure in line.figures)
    others = [
        (metric, category)
        for metric, category in figures
        if (metric == "accuracy" or category is None) and (metric, category) != _main(lines)
    ]
    return sorted(others, key=lambda figure: figure[0] != "accuracy")


def _figure(lines: Sequence[_Line], figure: Figure, *, n_in_header: bool = True) -> Column:
    metric, category = figure
    name = category if metric == "accuracy" and category else metric
    rows = [line.figures.get(figure) for line in lines]
    sizes = {row["n"] for row in rows if row is not None and row["n"] is not None}
    header = name.replace("_", " ")
    if n_in_header and len(sizes) == 1:
        header += f" (n {sizes.pop()})"
    cells = tuple(_percent(row, with_n=n_in_header and len(sizes) > 1) for row in rows)
    return Column(name, header, cells, right=True, fixed=not n_in_header)


def _percent(row: Row | None, *, with_n: bool) -> str | None:
    if row is None or row["value"] is None:
        return None
    text = f"{100 * row['value']:.1f}"
    if row["ci_low"] is not None and row["ci_high"] is not None:
        text += f" [{100 * row['ci_low']:.1f}–{100 * row['ci_high']:.1f}]"
    return f"{text} n {row['n']}" if with_n and row["n"] is not None else text


def _notes(lines: Sequence[_Line]) -> tuple[str | None, ...]:
    """Return, for each line, its source if sources differ, and the reason why it has no rank."""
    leads = [line.lead for line in lines]
    several = len({source_of(row) for row in leads if row["source"]}) > 1
    return tuple(_note(row, several=several) if row["source"] else None for row in leads)


def _note(row: Row, *, several: bool) -> str | None:
    source = source_of(row)
    why = [r for r in reasons(row) if not r.endswith(" data") and r != "reported"]
    why = ["no value" if r == row["reason"] else r for r in why]
    return ", ".join([*([source] if several and source != "measured" else []), *why]) or None


def _bounds(row: Row) -> str | None:
    """Return the value that follows if all missing and failed samples are wrong, and if all are right."""
    if row["complete"] is not False or row["value_low"] is None or row["value_high"] is None:
        return None
    return f"{100 * row['value_low']:.1f}–{100 * row['value_high']:.1f}"


def _chance(lines: Sequence[_Line]) -> tuple[dict[Figure, float], list[str]]:
    """Return the chance level of every figure for which the runs have the same."""
    found: dict[Figure, set[float]] = {}
    for line in lines:
        for figure, row in line.figures.items():
            if row["chance"] is not None:
                found.setdefault(figure, set()).add(row["chance"])
    levels = {figure: level for figure, (level, *more) in found.items() if not more}
    unequal = any(len(values) > 1 for values in found.values())
    return levels, ["The runs' chance levels differ: see --format csv."] if unequal else []


def _chance_line(levels: Mapping[Figure, float]) -> _Line:
    line = _Line()
    for figure, level in levels.items():
        line.figures[figure] = _Blank(model="(chance)", value=level)
    return line


class _Blank(dict[str, Any]):
    """A row whose other columns are None."""

    def __missing__(self, key: str) -> None:
        return None


def _ranks(leads: Sequence[Row]) -> tuple[tuple[str | None, ...], bool]:
    """Return the ranks, with a letter for each set of comparable rows if there are several."""
    sets = list(dict.fromkeys(conditions(row) for row in leads if row["rank"] is not None))
    several = len(sets) > 1
    letters = {one: _letter(number) if several else "" for number, one in enumerate(sets)}
    ranks = [
        None if row["rank"] is None else f"{row['rank']}{letters[conditions(row)]}" for row in leads
    ]
    return tuple(ranks), several


def _letter(number: int) -> str:
    above, last = divmod(number, 26)
    return (_letter(above - 1) if above else "") + chr(ord("a") + last)


def _value(line: _Line) -> float:
    value = line.lead["value"]
    return -1.0 if value is None else float(value)


def _plain(lines: Sequence[_Line], name: str) -> tuple[str | None, ...]:
    return tuple(line.lead[name] for line in lines)


def _counts(lines: Sequence[_Line], name: str) -> tuple[str | None, ...]:
    values = [line.lead[name] for line in lines]
    return tuple(None if value is None else str(value) for value in values)


def _numbers(lines: Sequence[_Line], name: str) -> tuple[str | None, ...]:
    values = [line.lead[name] for line in lines]
    return tuple(
        None if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}"
        for value in values
    )
