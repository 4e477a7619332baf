"""Values that parquet cannot hold are refused when they arrive, and no other sample suffers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from p2r_bench.errors import UserError
from p2r_bench.store.rows import sample_row, verdict_row
from p2r_bench.store.schema import SAMPLES, VERDICTS
from p2r_bench.store.tables import read_rows, write_table
from p2r_bench.store.values import misfit
from p2r_bench.types import Completion
from tests.store.building import (
    CELLS,
    SESSION,
    make_prediction,
    make_sample,
    make_verdict,
    open_folder,
    outcome,
)


def test_ordinary_rows_fit() -> None:
    row, (verdict,) = outcome(0)
    assert misfit(SAMPLES, row) is None and misfit(VERDICTS, verdict) is None


@pytest.mark.parametrize("count", [2**63, -(2**63) - 1, 10**400, 1.5, "12", Fraction(1, 2)])
def test_a_servers_impossible_count_is_an_error_of_its_sample(tmp_path: Path, count: Any) -> None:
    sample = make_sample(0)
    wild = make_prediction(sample, completions=(Completion("B", prompt_tokens=count),))
    row = sample_row(sample, wild, index=0, cells=CELLS)
    verdict = verdict_row(make_verdict(sample), index=0)
    assert (row["status"], row["error_type"]) == ("error", "invalid_value")
    assert "prompt_tokens" in row["error_message"]

    async def record() -> None:
        await folder.record(row, [verdict])
        await folder.record(*outcome(1))

    with open_folder(tmp_path) as folder:
        folder.begin(SESSION)
        asyncio.run(record())
        folder.finish(None, scorer="strict")
        assert folder.errors == {("4K-000", 0)} and folder.done == {("4K-001", 0)}
        (only,) = read_rows(folder.path / "verdicts.parquet", VERDICTS)
    assert only["sample_id"] == "4K-001"


@pytest.mark.parametrize("size", [2**53, 2**53 - 1, 2**63 - 1, -(2**63)])
def test_the_widest_counts_are_kept(tmp_path: Path, size: int) -> None:
    sample = make_sample(0)
    wide = make_prediction(sample, completions=(Completion("B", prompt_tokens=size),))
    row = sample_row(sample, wide, index=0, cells=CELLS)
    write_table(tmp_path / "samples.parquet", SAMPLES, [row])
    (found,) = read_rows(tmp_path / "samples.parquet", SAMPLES)
    assert found["prompt_tokens"] == size and found["status"] == "ok"


def test_a_field_of_the_sample_that_does_not_fit_names_sample_and_column() -> None:
    sample = replace(make_sample(0), rotation=2**31)
    with pytest.raises(UserError, match="'4K-000' cannot be stored: rotation is 2147483648"):
        sample_row(sample, make_prediction(sample), index=0, cells=CELLS)


def test_a_verdict_that_does_not_fit_is_an_error_of_its_scorer(tmp_path: Path) -> None:
    row = verdict_row(make_verdict(make_sample(0), span=(0, 2**31)), index=0)
    assert (row["status"], row["error_type"], row["correct"]) == ("error", "invalid_value", None)
    write_table(tmp_path / "verdicts.parquet", VERDICTS, [row])


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1])
def test_a_seed_of_more_than_64_bits_is_refused_at_the_start(tmp_path: Path, seed: int) -> None:
    with pytest.raises(UserError, match=r"seed .* 64 bits"):
        open_folder(tmp_path, seed=seed)
    assert list(tmp_path.iterdir()) == []
