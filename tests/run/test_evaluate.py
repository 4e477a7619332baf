"""`evaluate` refuses what the command line refuses, before anything starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from p2r_bench import evaluate
from p2r_bench.errors import UserError
from p2r_bench.run.spec import EngineChoice, RunSpec
from p2r_bench.session import run_all


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"limit": -3}, "limit = -3: must be at least 1"),
        ({"limit": "3"}, 'limit = "3": must be a whole number'),
        ({"allow_mixed": "no"}, 'allow_mixed = "no": must be true or false'),
        ({"sample_ids": "4K/1"}, 'sample_ids = "4K/1": must be a list of texts'),
        ({"limt": 3}, "limt: no such option; did you mean limit"),
        ({"pixels": "slow"}, "must be exact or fast"),
        ({"tasks": []}, "tasks = .*must be a name, or a list of at least one"),
        ({"tasks": 3}, "tasks = 3: must be a name"),
        ({"model": 3}, "model = 3: must be text"),
        ({"engine_args": ["dtype=float32"]}, "engine_args = .*must be a dict"),
        ({"data_dir": 3}, "data_dir = 3: must be a path"),
        ({"roles": {"perceive": "small"}}, "roles.perceive. = .*an instance of EngineChoice"),
        ({"mode": "p2r", "mode_params": {"steps": 3}}, "'p2r' does not take .*it has: none"),
        ({"task_params": {"row": 3}}, "Synth-HR has no parameter 'row'; it has: .*rows"),
        ({"engine_args": {"dtyp": "x"}}, "no argument 'dtyp'"),
        ({"profile": "p2rr"}, "p2rr"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        evaluate(**{"out": tmp_path, **given})
    assert not [*tmp_path.iterdir()]


def test_names_and_paths_may_be_written_as_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[RunSpec] = []
    monkeypatch.setattr("p2r_bench.session.run_all", lambda specs, view: asked.extend(specs))
    evaluate(
        "default, p2r", ("V-Star",), "m", data_dir="data", out=Path("o"), profile=Path("a.toml")
    )
    assert [(s.mode, s.task) for s in asked] == [("default", "V-Star"), ("p2r", "V-Star")]
    assert (asked[0].data_dir, asked[0].out, asked[0].profile) == (
        Path("data"),
        Path("o"),
        "a.toml",
    )


def test_a_spec_is_checked_also_when_it_is_changed() -> None:
    spec = RunSpec("V-Star", choice=EngineChoice("m"), limit=3)
    with pytest.raises(UserError, match="repeats = 0: must be at least 1"):
        replace(spec, repeats=0)


def test_a_mistake_in_the_last_run_is_found_before_the_first_starts(
    bench: Path, tmp_path: Path
) -> None:
    good = RunSpec("HR-Bench", "default", data_dir=bench, out=tmp_path / "out", profile="tiny")
    for bad in (
        replace(good, task="V-Star", data_dir=tmp_path / "nowhere"),
        replace(good, choice=EngineChoice(args={"dtyp": "x"})),
        replace(good, mode_params={"steps": 1}),
    ):
        with pytest.raises(UserError):
            run_all([good, bad])
        assert not (tmp_path / "out").exists()
