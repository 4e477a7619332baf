"""Published figures, for the leaderboard: the paper's tables as printed, source "reported"."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

_BENCHMARKS = {
    "V-Star": ("V-Star", None),
    "HR-Bench-4K": ("HR-Bench", "4K"),
    "HR-Bench-8K": ("HR-Bench", "8K"),
    "MME-RealWorld-lite": ("MME-RealWorld-lite", None),
}


@dataclass(frozen=True)
class PublishedRow:
    """One printed figure.

    Attributes:
        category: None for the overall figure.
        value: Accuracy, 0 to 1. Printed with one decimal of a percent, and not free of misprints.
        source: "reported": not measured here, and never compared exactly.
    """

    model: str
    task: str
    subset: str | None
    category: str | None
    value: float
    source: str = "reported"


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """All published figures, in the order of the table (arXiv 2607.01191)."""
    file = resources.files("p2r_bench.store") / "reference_results.csv"
    return tuple(
        PublishedRow(
            model=line["model"],
            task=_BENCHMARKS[line["benchmark"]][0],
            subset=_BENCHMARKS[line["benchmark"]][1],
            category=None if line["category"] == "overall" else line["category"],
            value=round(float(line["accuracy"]) / 100, 6),
        )
        for line in csv.DictReader(file.read_text("utf-8").splitlines())
    )
