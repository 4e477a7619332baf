"""The figures that come with p2r-bench: published ones, and those of the bundled models. Runs never write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from p2r_bench.store.schema import LEADERBOARD
from p2r_bench.store.tables import read_rows

Row = dict[str, Any]

_SHIPPED = Path(__file__).parent / "reference.parquet"
_IN_CHECKOUT = Path(__file__).parents[2] / "results" / "reference.parquet"


def reference_path() -> Path:
    """`reference.parquet` of the installed package, or `results/reference.parquet` of the checkout."""
    return _SHIPPED if _SHIPPED.exists() else _IN_CHECKOUT


def reference_rows() -> list[Row]:
    """Rows with the leaderboard's columns, published figures (source "reported") first.

    The published figures are those of the tables in arXiv 2607.01191 as printed, with one decimal of a
    percent and not free of misprints: they are not compared exactly. Columns that nobody printed are None.

    Raises:
        UserError: The file is missing, damaged or of a newer version.
    """
    return list(read_rows(reference_path(), LEADERBOARD))
