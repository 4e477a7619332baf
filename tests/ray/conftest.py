"""The scripted engine, registered in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2r_bench import plugins
from p2r_bench.run.spec import EngineChoice, RunSpec
from tests.ray import scripted
from tests.run.conftest import write_bench

SCRIPTED = EngineChoice(
    "scripted",
    "scripted",
    args={"script": "tests.ray.scripted:mortal", "latency": "0.01", "places": "4"},
)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin of these tests, without being installed."""
    found = plugins.load([plugins.Source("ray-tests", "1.0", lambda: scripted)])
    monkeypatch.setattr(plugins, "discover", lambda: found)


@pytest.fixture
def spec(tmp_path: Path, registered: None) -> RunSpec:
    """A run of 40 samples, four to a question."""
    return RunSpec(
        "HR-Bench",
        choice=SCRIPTED,
        data_dir=write_bench(tmp_path / "data", questions=10),
        out=tmp_path / "out",
        profile="tiny",
    )
