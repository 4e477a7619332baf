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


def test_a_value_that_only_the_registry_can_refuse_names_the_file_too(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text('tasks = "V-Star"\nmode = "p2rr"')
    (options,) = read_sweep(file, {})
    with pytest.raises(UserError, match=r"sweep\.toml: run 1: no mode is called 'p2rr'"):
        specs_of(options)


def test_one_text_stands_for_a_list_and_sizes_are_read(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text('tasks = "V-Star"\nengine-arg = "dtype=float32"\nimage-memory = "2GiB"')
    (spec,) = specs_of(*read_sweep(file, {}))
    assert (spec.choice.args, spec.image_memory) == ({"dtype": "float32"}, 2 << 30)


def test_arguments_hold_for_all_or_for_the_mode_and_task_they_name() -> None:
    specs = specs_of(
        {
            "modes": "default,p2r",
            "tasks": "V-Star,Synth-HR",
            "mode_args": ["a=1", "p2r:a=2", "p2r:b=x"],
            "task_args": ["Synth-HR:rows=8"],
        }
    )
    assert {s.mode: s.mode_params for s in specs} == {
        "default": {"a": 1},
        "p2r": {"a": 2, "b": "x"},
    }
    assert {s.task: s.task_params for s in specs} == {"V-Star": {}, "Synth-HR": {"rows": 8}}


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("mode_args", "p2rr:a=1", "this run has no mode 'p2rr'; it has default, p2r"),
        ("task_args", "HR-Bench:a=1", "this run has no task 'HR-Bench'; it has V-Star"),
        ("mode_args", "p2r:=1", "name=value or MODE:name=value"),
    ],
)
def test_arguments_of_a_mode_or_task_that_does_not_run_are_refused(
    option: str, text: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        specs_of({"modes": "default,p2r", "tasks": "V-Star", option: [text]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle = 1", "run 1: modle: no such option"),
        ("run = 3", r"\[\[run\]\]"),
        ("a = 1\nx = = 1", r"not valid TOML: .*line 2"),
        ("limit = -3", "run 1: limit = -3: must be at least 1"),
        ('limit = "3"', 'run 1: limit = "3": must be a whole number'),
        ("limit = true", "run 1: limit = true: must be a whole number"),
        ('allow_mixed = "no"', 'run 1: allow_mixed = "no": must be true or false'),
        ("retry-errors = 1", "run 1: retry_errors = 1: must be true or false"),
        ("engine_args = 3", "run 1: engine_args = 3: must be a list of texts"),
        ("tasks = [1]", r"run 1: tasks\[0\] = 1: must be text"),
        ("data_dir = 3", "run 1: data_dir = 3: must be a path"),
        ('pixels = "slow"', 'run 1: pixels = "slow": must be exact or fast'),
        ('image_memory = "3 bags"', "run 1: image_memory = .*must be a size such as 512MiB"),
        ('replica_resources = "GPU"', "run 1: replica_resources = .*such as GPU=1,CPU=4"),
        ("model = []", "run 1: model: an empty list"),
        ("mode = 'p2r'\nmodes = 'p2r'", "modes: is set twice"),
        ("run = []", r"run: no run is listed; add a \[\[run\]\] table"),
        ("[[run]]\n[[run]]\nlimit = 0", "run 2: limit = 0"),
        ("limit = 0\nseed = 'x'", r"run 1: seed = \"x\": must be a whole number\n  limit = 0"),
    ],
)
def test_a_bad_sweep_names_file_and_field(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=f"sweep.toml.*{message}"):
        read_sweep(file, {})
