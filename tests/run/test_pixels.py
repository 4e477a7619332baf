"""`--pixels fast`: another route, another profile hash, another run."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from p2r_bench.adapter.routes import resize_route
from p2r_bench.cli.run import command
from p2r_bench.errors import UserError
from p2r_bench.run.resolve import profile_of
from p2r_bench.run.runner import run
from p2r_bench.run.spec import RunSpec
from tests.run.conftest import FakeEngine, FakeEngines


def test_the_fast_route_is_a_run_of_its_own_and_every_image_takes_it(bench: Path) -> None:
    spec = RunSpec("HR-Bench", data_dir=bench, out=bench.parent / "out", profile="tiny")
    exact = asyncio.run(run(spec, FakeEngines(FakeEngine())))
    engine = FakeEngine()
    fast = asyncio.run(run(dataclasses.replace(spec, pixels="fast"), FakeEngines(engine)))
    assert fast.run_id != exact.run_id and fast.added == 12
    assert {recipe.route for request in engine.calls for recipe in request.recipes} == {"fast"}
    hashes = [pd.DataFrame(r.metrics)["profile_hash"].unique().tolist() for r in (exact, fast)]
    assert hashes == [[profile_of(spec).hash], [profile_of(spec).with_route("fast").hash]]


def test_without_torch_the_fast_route_is_refused_before_anything_starts(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "p2r_bench.torch_pixels", raising=False)
    resize_route.cache_clear()
    options = ["--tasks", "HR-Bench", "--data-dir", str(bench), "--out", str(bench.parent / "out")]
    result = CliRunner().invoke(command, [*options, "--pixels", "fast", "--quiet"])
    resize_route.cache_clear()
    assert isinstance(result.exception, UserError)
    assert "pip install torch" in str(result.exception)
    assert not (bench.parent / "out").exists()
