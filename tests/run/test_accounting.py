"""A run's accounting of time, tokens and images."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pandas as pd
import pytest

from p2r_bench.run.accounting import EngineMeter, Ledger, block
from p2r_bench.run.result import RunResult
from p2r_bench.run.runner import run
from p2r_bench.run.spec import RunSpec
from tests.run.conftest import FakeEngine, FakeEngines


def do(bench: Path, engine: FakeEngine, mode: str = "p2r") -> RunResult:
    spec = RunSpec("HR-Bench", mode=mode, data_dir=bench, out=bench.parent / "out", profile="tiny")
    return asyncio.run(run(spec, FakeEngines(engine)))


def test_an_engine_is_busy_while_a_request_is_inside_and_full_at_its_capacity() -> None:
    meter = EngineMeter(capacity=2)
    for time, change in [(0, +1), (1, +1), (2, +1), (4, -1), (5, -1), (6, -1), (8, +1), (9, -1)]:
        (meter.enter if change > 0 else meter.leave)(time)
    assert meter.busy_s == 7
    assert meter.request_s == 1 + 2 + 2 * 2 + 2 + 1 + 1


def test_stages_have_their_calls_times_and_tokens(bench: Path) -> None:
    accounting = do(bench, FakeEngine(delay=0.002)).accounting
    assert accounting is not None and (accounting["rows"], accounting["errors"]) == (12, 0)
    perceive, reason = accounting["stages"]["perceive"], accounting["stages"]["reason"]
    assert perceive["calls"] == reason["calls"] == 12
    assert (perceive["output_tokens"], reason["output_tokens"]) == (12 * 9, 12 * 4)
    assert perceive["prompt_tokens"] is None  # this engine does not tell
    assert perceive["visual_tokens"] > 0 and perceive["engine_s"] > 0 and perceive["image_s"] > 0
    assert accounting["engine"]["capacity"] == 4
    assert 0 < accounting["engine"]["fullness"] <= accounting["engine"]["busy_share"] <= 1


def test_rows_that_share_an_image_share_what_is_made_of_it(bench: Path) -> None:
    accounting = do(bench, FakeEngine()).accounting
    assert accounting is not None
    # Three images with four rotations each; the perceiver's box is always the same: whole, annotated, one crop.
    assert accounting["images"] == {"sent": 12 * 3, "made": 3 * 3, "decoded": 3}


def test_errors_are_counted_and_nothing_to_do_has_no_accounting(bench: Path) -> None:
    failing = do(bench, FakeEngine(fail=lambda r: r.sample_id == "4K/2")).accounting
    assert failing is not None and (failing["rows"], failing["errors"]) == (12, 1)
    assert do(bench, FakeEngine()).accounting is not None
    assert do(bench, FakeEngine()).accounting is None


def test_each_row_has_its_times_and_the_leaderboard_their_means(bench: Path) -> None:
    result = do(bench, FakeEngine(delay=0.002))
    samples = pd.read_parquet(result.path / "samples.parquet")
    for name in ("queue_seconds", "image_seconds", "engine_seconds", "judge_seconds"):
        assert (samples[name] >= 0).all(), name
    assert (samples["engine_seconds"] <= samples["total_seconds"]).all()
    verdicts = pd.read_parquet(result.path / "verdicts.parquet")
    assert verdicts.groupby("sample_id")["seconds"].sum().to_dict() == pytest.approx(
        samples.set_index("sample_id")["judge_seconds"].to_dict()
    )
    (row,) = result.overall
    assert row["engine_seconds_per_sample"] == pytest.approx(samples["engine_seconds"].mean())


def test_the_account_for_people_has_a_line_for_each_stage(bench: Path) -> None:
    accounting = do(bench, FakeEngine()).accounting
    assert accounting is not None
    head, images, *stages = block(accounting)
    assert "rows/s" in head and "engine busy" in head and "peak memory" in head
    assert images == "36 images sent, 9 rendered, 3 decoded"
    assert [line.split(",")[0] for line in stages] == ["perceive", "reason"]
    assert stages[0].endswith("12 visual, 9 out")


def test_replicas_add_up() -> None:
    one = {
        "engines": [{"capacity": 4, "busy_s": 5.0, "request_s": 10.0}],
        "images": {"sent": 3, "made": 2, "decoded": 1},
    }
    account = Ledger().summary(10.0, {"launcher": "ray", "replicas": {"a": one, "b": one}})
    assert account["engine"] == {"capacity": 8, "busy_share": 0.5, "fullness": 0.25}
    assert account["images"] == {"sent": 6, "made": 4, "decoded": 2}
