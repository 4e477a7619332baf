"""Figures that ship with p2r-bench: published ones, and those of the bundled models. Runs never write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from p2r_bench.store.schema import LEADERBOARD
from p2r_bench.store.tables import read_rows

Row = dict[str, Any]

_SHIPPED = Path(__file__).parent / "reference.parquet"
_IN_CHECKOUT = Path(__file__).parents[2] / "results" / "reference.parquet"


def reference_path() -> Path:
    """Return the path of the installed package's `reference.parquet`, or of the checkout's `results/reference.parquet`."""
    return _SHIPPED if _SHIPPED.exists() else _IN_CHECKOUT


def reference_rows() -> list[Row]:
    """Return rows with the leaderboard's columns, published figures (source "reported") first.

    The published figures are copied from the tables of arXiv 2607.01191, with one decimal of a percent and some
    misprints, so they are never compared exactly. Columns that were not published are None.

    Raises:
        UserError: The file is missing, damaged or of a newer version.
    """
    return list(read_rows(reference_path(), LEADERBOARD))
