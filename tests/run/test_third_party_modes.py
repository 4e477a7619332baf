"""A third party's mode has roles and numbers of images of its own, from start to leaderboard."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from p2r_bench import hookimpl, plugins
from p2r_bench.errors import UserError
from p2r_bench.run.engines import EngineSet, max_images_of
from p2r_bench.run.resolve import make_mode, profile_of
from p2r_bench.run.result import RunResult
from p2r_bench.run.runner import run
from p2r_bench.run.spec import RunSpec
from p2r_bench.run.sweep import specs_of
from p2r_bench.session import run_all
from p2r_bench.testing.registering import plugin_of
from p2r_bench.types import Capabilities, EngineConfig
from tests.run.conftest import FakeEngine, FakeEngines


@pytest.fixture(autouse=True)
def third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    @hookimpl
    def register_modes(register: Any) -> None:
        register("own", "tests.run.third_party:Own")
        register("unnamed", "tests.run.third_party:Unnamed")

    @hookimpl
    def register_engines(register: Any) -> None:
        register("watched", "tests.run.test_third_party_modes:Watched")

    plugin = plugin_of(register_modes=register_modes, register_engines=register_engines)
    found = plugins.load([plugins.Source("third-party", "1.0", lambda: plugin)])
    monkeypatch.setattr(plugins, "discover", lambda: found)


class Watched(FakeEngine):
    """Remembers what it was made from."""

    made: list[EngineConfig] = []  # noqa: RUF012

    def __init__(self, config: EngineConfig) -> None:
        super().__init__()
        self.made.append(config)


def spec(bench: Path, mode: str = "own", **fields: Any) -> RunSpec:
    return RunSpec(
        "HR-Bench", mode=mode, data_dir=bench, out=bench.parent / "out", profile="tiny", **fields
    )


def do(chosen: RunSpec, engines: EngineSet) -> RunResult:
    return asyncio.run(run(chosen, engines))


def test_role_of_its_own_is_served_sampled_like_reason_and_stored(bench: Path) -> None:
    engine = FakeEngine()
    result = do(spec(bench), FakeEngines(engine))
    assert result.complete and result.overall[0]["value"] == 1.0
    rows = pd.read_parquet(result.path / "samples.parquet")
    assert {stage["role"] for stages in rows.stages for stage in stages} == {"zoom"}
    (row,) = result.overall
    assert row["mode_version"] == "third-party 1.0" and row["calls_per_sample"] == 1


def test_role_that_the_mode_does_not_name_ends_the_run_with_the_way_out(bench: Path) -> None:
    with pytest.raises(
        UserError, match="Unnamed calls the role 'zoom', and names only perceive, reason"
    ):
        do(spec(bench, "unnamed"), FakeEngines(FakeEngine()))


def test_role_of_its_own_can_have_its_own_model(bench: Path) -> None:
    options = {"tasks": "HR-Bench", "modes": "own", "roles": ("zoom=other",)}
    (chosen,) = specs_of(
        {**options, "data_dir": bench, "out": bench.parent / "out", "profile": "tiny"}
    )
    other = FakeEngine()
    do(chosen, FakeEngines(other=other))
    assert {request.role for request in other.calls} == {"zoom"}
    with pytest.raises(UserError, match="with a role of perceive, reason, think, answer"):
        specs_of({**options, "modes": "p2r"})


def test_engine_is_made_for_as_many_images_as_the_mode_says(bench: Path) -> None:
    Watched.made.clear()
    (chosen,) = specs_of(
        {"tasks": "HR-Bench", "modes": "own", "mode_args": ("images=6",), "engine": "watched"}
        | {
            "model": "m",
            "data_dir": bench,
            "out": bench.parent / "out",
            "profile": "tiny",
            "limit": 1,
        }
    )
    assert run_all([chosen])[0].added == 1
    assert {config.max_images for config in Watched.made} == {6}


def test_mode_that_says_nothing_has_the_profile_s_number_of_images(bench: Path) -> None:
    assert max_images_of(make_mode(spec(bench, "p2r")), profile_of(spec(bench))) == 4


def test_context_is_checked_for_all_images_of_the_mode(bench: Path) -> None:
    engine = FakeEngine()
    engine.capabilities = lambda: Capabilities(context_tokens=800)  # type: ignore[method-assign]
    assert do(spec(bench, limit=1), FakeEngines(engine)).added == 1
    many = spec(bench, mode_params={"images": 9})
    with pytest.raises(UserError, match=r"role 'zoom'.*for 9 images.*has 800"):
        do(many, FakeEngines(engine))


def test_parameters_that_the_mode_does_not_take_are_told(bench: Path) -> None:
    with pytest.raises(UserError, match=r"mode 'own' does not take these parameters.*depth"):
        do(spec(bench, mode_params={"depth": 3}), FakeEngines(FakeEngine()))
