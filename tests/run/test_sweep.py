"""From options and sweep files to runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2r_bench.errors import UserError
from p2r_bench.run.spec import EngineChoice
from p2r_bench.run.sweep import read_sweep, specs_of


def test_every_mode_runs_on_every_task() -> None:
    specs = specs_of({"modes": "default, p2r", "tasks": "V-Star,HR-Bench"})
    assert [(s.mode, s.task) for s in specs] == [
        ("default", "V-Star"),
        ("default", "HR-Bench"),
        ("p2r", "V-Star"),
        ("p2r", "HR-Bench"),
    ]


def test_roles_take_their_own_model_engine_and_arguments() -> None:
    (spec,) = specs_of(
        {
            "tasks": "V-Star",
            "model": "big",
            "revision": "abc",
            "engine_args": ["dtype=float32", "reason:lora=x"],
            "roles": ["perceive=small@openai", "think=@openai"],
        }
    )
    assert spec.choice == EngineChoice("big", "transformers", "abc", {"dtype": "float32"})
    assert spec.roles["perceive"] == EngineChoice("small", "openai", None, {"dtype": "float32"})
    assert spec.roles["reason"] == EngineChoice(
        "big", "transformers", "abc", {"dtype": "float32", "lora": "x"}
    )
    assert (spec.roles["think"].model, spec.roles["think"].engine) == ("big", "openai")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "--tasks: name at least one of V-Star"),
        ({"tasks": "HRBench"}, "HR-Bench"),
        ({"tasks": "V-Star", "modes": "p2rr"}, "p2r"),
        ({"tasks": "V-Star", "engine_args": ["dtype"]}, "name=value"),
        ({"tasks": "V-Star", "roles": ["look=small"]}, "ROLE=MODEL"),
        ({"tasks": "V-Star", "judge_args": ["url=x"]}, "SCORER:name=value"),
        ({"tasks": "V-Star", "task_args": ["rows"]}, "name=value"),
    ],
)
def test_what_cannot_be_read_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        specs_of(options)


def test_a_sweep_crosses_models_modes_and_tasks(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(
        'mode = ["default", "p2r"]\nlimit = 7\n'
        '[[run]]\nmodel = ["small", "large"]\ntasks = ["V-Star"]\n'
        '[[run]]\nmodel = "other"\nengine-arg = ["dtype=float32"]\ntasks = "HR-Bench"\n'
    )
    specs = [spec for one in read_sweep(file, {"limit": 3}) for spec in specs_of(one)]
    assert [(s.choice.model, s.mode, s.task, s.limit) for s in specs] == [
        (model, mode, task, 3)
        for model, task in (("small", "V-Star"), ("large", "V-Star"), ("other", "HR-Bench"))
        for mode in ("default", "p2r")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle = 1", "run 1: modle: no such option"),
        ("run = 3", r"\[\[run\]\]"),
        ("x = = 1", "not valid TOML"),
    ],
)
def test_a_bad_sweep_names_file_and_field(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=f"sweep.toml.*{message}"):
        read_sweep(file, {})
