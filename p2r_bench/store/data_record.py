"""Facts about a task's data in a run's manifest: kind, chance levels, skipped rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from p2r_bench.stats.chance import CellFacts
from p2r_bench.types import Cell, DataKind


@dataclass(frozen=True)
class DataRecord:
    """Facts about a task's data, as read at the start of a run.

    Attributes:
        kind, note, chance: As in `DataFacts`.
        skipped_rows: Number of bad rows that were left out.
        figures: Metric name and cell to the facts about the figure.
    """

    kind: DataKind = "unknown"
    note: str | None = None
    chance: float | None = None
    skipped_rows: int = 0
    figures: Mapping[tuple[str, Cell], CellFacts] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the record as JSON-able values."""
        return {
            "kind": self.kind,
            "note": self.note,
            "chance": self.chance,
            "skipped_rows": self.skipped_rows,
            "figures": [
                {"metric": metric, "subset": cell[0], "category": cell[1], **asdict(facts)}
                for (metric, cell), facts in self.figures.items()
            ],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DataRecord:
        """Return the record that `as_json` made; `{}` gives a record without facts."""
        figures = {
            (one["metric"], (one["subset"], one["category"])): CellFacts(
                one["chance"], one["n_chance"], one["reason"], one["question_rows"]
            )
            for one in values.get("figures", ())
        }
        plain = {name: value for name, value in values.items() if name != "figures"}
        return cls(**plain, figures=figures)
