"""The result of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunResult:
    """The result of a run, as its files have it.

    Attributes:
        path: The run's folder.
        metrics: Metric rows, with the leaderboard's columns.
        added: Samples that this session ran; those done before are not among them.
        interrupted: Stopped by a signal before everything was done.
        accounting: Time and tokens of this session, as in the manifest; None when nothing was missing.
        notice: A warning about the served model that belongs beside the figures, or None.
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
        """The headline accuracy over all categories: one row, or one for each subset of the task."""
        return [
            row
            for row in self.metrics
            if row["headline"] and row["category"] is None and row["metric"] == "accuracy"
        ]
