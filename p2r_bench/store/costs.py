"""Accuracy and cost of stored runs, one point per run and subset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.store.reader import RunReader
from p2r_bench.store.schema import METRICS
from p2r_bench.store.scored import ACCURACY
from p2r_bench.store.tables import read_rows


@dataclass(frozen=True)
class Point:
    """A run's accuracy on a subset, and its mean cost per sample.

    Attributes:
        value, low, high: Accuracy with its 95 % interval, 0 to 1.
        costs: Name to mean per sample: visual_tokens, tokens (prompt and output), seconds. Unknown ones are left out.
    """

    run_id: str
    model: str
    mode: str
    profile: str
    task: str
    subset: str | None
    value: float
    low: float
    high: float
    n: int
    chance: float | None
    costs: dict[str, float]

    @property
    def series(self) -> str:
        """Name of the line that the point belongs to: model and mode."""
        return f"{self.model} · {self.mode}"


def points_of(runs: Sequence[RunReader]) -> list[Point]:
    """Return the points of runs, in their order.

    Raises:
        UserError: A run has no figures, or a damaged file.
    """
    points = []
    for run in runs:
        path = run.path / "metrics.parquet"
        if not path.exists():
            raise UserError(
                f"{run.run_id}: has no figures yet; `p2r-bench score {run.run_id}` makes them"
            )
        found = [_point(row) for row in read_rows(path, METRICS) if _is_shown(row)]
        if not found:
            raise UserError(f"{run.run_id}: has no accuracy: nothing is scored")
        points += found
    return points


def _is_shown(row: dict[str, Any]) -> bool:
    return (
        row["headline"]
        and row["metric"] == ACCURACY
        and row["category"] is None
        and row["value"] is not None
    )


def _point(row: dict[str, Any]) -> Point:
    tokens = [row[f"{name}_tokens_per_sample"] for name in ("prompt", "output")]
    costs = {
        "visual_tokens": row["visual_tokens_per_sample"],
        "tokens": None if None in tokens else sum(tokens),
        "seconds": row["seconds_per_sample"],
    }
    return Point(
        run_id=row["run_id"],
        model=row["model"],
        mode=row["mode"],
        profile=row["profile"],
        task=row["task"],
        subset=row["subset"],
        value=row["value"],
        low=row["ci_low"],
        high=row["ci_high"],
        n=row["n"],
        chance=row["chance"],
        costs={name: cost for name, cost in costs.items() if cost is not None},
    )
