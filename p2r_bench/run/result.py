"""The result of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunResult:
    """The result of a run.

    Attributes:
        path: The run's folder.
        metrics: Metric rows, with the leaderboard's columns.
        added: Samples that this session ran.
        interrupted: True if a signal stopped the run before it was complete.
        accounting: Time and tokens of this session, as in the manifest; None if it ran nothing.
        notice: A warning about the served model, to show beside the figures, or None.
    """

    run_id: str
    path: Path
    metrics: tuple[Mapping[str, Any], ...]
    added: int = 0
    interrupted: bool = False
    accounting: Mapping[str, Any] | None = None
    notice: str | None = None

    @property
    def complete(self) -> bool:
        """True when every sample of the task has an outcome and a headline verdict."""
        headlines = [row for row in self.metrics if row["headline"]]
        return bool(headlines) and all(row["complete"] for row in headlines)

    @property
    def overall(self) -> list[Mapping[str, Any]]:
        """Return the metric rows of the headline accuracy over all categories: one per subset of the task."""
        return [
            row
            for row in self.metrics
            if row["headline"] and row["category"] is None and row["metric"] == "accuracy"
        ]
