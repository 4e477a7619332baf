"""Facts that distinguish the runs of a table: columns if they differ, else lines above the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Row = Mapping[str, Any]
Cells = tuple[str | None, ...]


@dataclass(frozen=True)
class Fact:
    """A fact about each line of a table.

    Attributes:
        value: The value that all runs share; None if they differ or have none.
        differs: True if the runs differ in it.
    """

    name: str
    header: str
    cells: Cells
    value: str | None
    differs: bool

    def with_gap(self, place: int) -> Fact:
        """Return the fact with an empty line inserted."""
        return replace(self, cells=(*self.cells[:place], None, *self.cells[place:]))


def facts_of(leads: Sequence[Row]) -> list[Fact]:
    """Return the facts, the most important first. All but the source concern measured lines only."""
    return [_fact(name, header, cells, leads) for name, header, cells in _FACTS]


def _fact(
    name: str, header: str, cells: Callable[[Sequence[Row]], Cells], leads: Sequence[Row]
) -> Fact:
    about = [i for i, row in enumerate(leads) if name == "source" or row["source"] != "reported"]
    values = cells([leads[i] for i in about])
    shown = dict(zip(about, values, strict=True))
    distinct = set(values)
    return Fact(
        name,
        header,
        tuple(shown.get(i) for i in range(len(leads))),
        value=values[0] if len(distinct) == 1 else None,
        differs=len(distinct) > 1,
    )


def _plain(name: str) -> Callable[[Sequence[Row]], Cells]:
    return lambda leads: tuple(None if r[name] is None else str(r[name]) for r in leads)


def source_of(row: Row) -> str:
    """Return `reported` (by a publication), `reference` (shipped with p2r-bench), or `measured` (here)."""
    reference = row["source"] == "measured" and row["reference"]
    return "reference" if reference else str(row["source"])


def _source(leads: Sequence[Row]) -> Cells:
    return tuple(source_of(row) for row in leads)


def _named(name: str, digest: str) -> Callable[[Sequence[Row]], Cells]:
    """Return names, with the beginning of the digest where a name has several."""

    def cells(leads: Sequence[Row]) -> Cells:
        return tuple(
            " ".join(filter(None, (row[name], extra))) or None
            for row, extra in zip(leads, _digests(leads, name, digest), strict=True)
        )

    return cells


def _digests(leads: Sequence[Row], name: str, digest: str) -> Cells:
    """Return the beginning of each row's digest where its name has several digests among the rows."""
    seen: dict[str | None, set[Any]] = {}
    for row in leads:
        seen.setdefault(row[name], set()).add(row[digest])
    return tuple(
        row[digest][:8] if row[digest] and len(seen[row[name]]) > 1 else None for row in leads
    )


def _weights(leads: Sequence[Row]) -> Cells:
    return _digests(leads, "model", "model_digest")


def _scorer(leads: Sequence[Row]) -> Cells:
    rows = [{**row, "scorer": _versioned(row)} for row in leads]
    return _named("scorer", "scorer_params_hash")(rows)


def _versioned(row: Row) -> str | None:
    version = row["scorer_version"]
    return row["scorer"] if version is None else f"{row['scorer']} {version}"


def _data(leads: Sequence[Row]) -> Cells:
    return tuple((row["data_digest"] or "")[:8] or None for row in leads)


_FACTS: tuple[tuple[str, str, Callable[[Sequence[Row]], Cells]], ...] = (
    ("source", "source", _source),
    ("profile", "profile", _named("profile", "profile_hash")),
    ("scorer", "scorer", _scorer),
    ("mode_params", "mode parameters", _plain("mode_params")),
    ("weights", "weights", _weights),
    ("seed", "seed", _plain("seed")),
    ("repeats", "repeats", _plain("repeats")),
    ("engine", "engine", _plain("engine")),
    ("data", "data", _data),
    ("data_note", "about the data", _plain("data_note")),
    ("version", "mode from", _plain("mode_version")),
)
