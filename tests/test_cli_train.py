"""`p2r-bench train` hands a configuration to a registered trainer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from p2r_bench import hookimpl, plugins
from p2r_bench.cli import main
from p2r_bench.testing.registering import plugin_of

DONE: list[Mapping[str, Any]] = []


class Rounds:
    """A trainer that takes `rounds` steps and remembers them in DONE."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    def plan(self) -> Sequence[Mapping[str, Any]]:
        return [{"role": "perceiver", "round": n} for n in range(self.config["rounds"])]

    def run(self) -> None:
        DONE.extend(self.plan()[len(DONE) :])

    def status(self) -> Mapping[str, Any]:
        return {"done": len(DONE), "of": len(self.plan())}


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    @hookimpl
    def register_trainers(register: Any) -> None:
        register("rounds", f"{__name__}:Rounds")

    plugin = plugin_of(register_trainers=register_trainers)
    found = plugins.load([plugins.Source("p2r-rounds", "1", lambda: plugin)])
    monkeypatch.setattr(plugins, "discover", lambda: found)
    monkeypatch.setattr("p2r_bench.cli.train.discover", lambda: found)
    DONE.clear()
    yield
    DONE.clear()


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "rounds.toml"
    file.write_text("rounds = 2\n", "utf-8")
    return str(file)


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["train", *args])


def test_dry_run_prints_the_plan_and_does_nothing(trainer: None, config: str) -> None:
    result = run("rounds", "--config", config, "--dry-run")
    assert result.output.splitlines()[1].split() == ["1", "perceiver", "0"]
    told = json.loads(run("rounds", "--config", config, "--dry-run", "--json").output)
    assert told == [{"role": "perceiver", "round": 0}, {"role": "perceiver", "round": 1}]
    assert DONE == []


def test_commands_of_a_plan_can_be_copied(
    trainer: None, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    step = {
        "step": "serve",
        "does": "starts a server",
        "command": ["serve", "--note", "two words"],
        "environment": {"CUDA_VISIBLE_DEVICES": "0,1"},
        "ports": [8100, 8101],
        "hosts": ["a.example", "b.example"],
        "gpus": [],
    }
    monkeypatch.setattr(Rounds, "plan", lambda self: [step, {"step": "stop"}])
    assert run("rounds", "--config", config, "--dry-run").output.splitlines() == [
        "1. serve",
        "   does:        starts a server",
        "   command:     serve --note 'two words'",
        "   environment: CUDA_VISIBLE_DEVICES=0,1",
        "   ports:       8100 8101",
        "   hosts:       a.example",
        "                b.example",
        "",
        "2. stop",
    ]


def test_run_and_status(trainer: None, config: str) -> None:
    assert json.loads(run("status", "rounds", "--config", config, "--json").output) == {
        "done": 0,
        "of": 2,
    }
    assert run("rounds", "--config", config).exit_code == 0
    assert json.loads(run("status", "rounds", "--config", config, "--json").output) == {
        "done": 2,
        "of": 2,
    }
    assert "done" in run("status", "rounds", "--config", config).output


def test_rounds_on_the_command_line_go_before_the_files(trainer: None, config: str) -> None:
    options = ["--config", config, "--json"]
    assert len(json.loads(run("rounds", *options, "--dry-run", "--rounds", "3").output)) == 3
    assert run("rounds", "--config", config, "--rounds", "1").exit_code == 0
    assert [step["round"] for step in DONE] == [0]
    assert run("rounds", "--config", config, "--rounds", "3").exit_code == 0
    assert [step["round"] for step in DONE] == [0, 1, 2]
    assert json.loads(run("status", "rounds", *options, "--rounds", "4").output)["of"] == 4
    assert run("rounds", "--config", config, "--rounds", "0").exit_code == 2


def test_help_lists_the_trainers(trainer: None) -> None:
    assert "rounds" in run("--help").output


def test_broken_configuration_is_refused_with_its_file(trainer: None, config: str) -> None:
    Path(config).write_text("rounds =", "utf-8")
    result = run("rounds", "--config", config)
    assert result.exit_code == 2 and f"{config}: not valid TOML" in result.output


def test_unknown_trainer_is_refused_with_the_known_ones(trainer: None, config: str) -> None:
    result = run("round", "--config", config)
    assert result.exit_code == 2 and "did you mean rounds" in result.output


def test_without_a_trainer_the_way_to_one_is_told(config: str) -> None:
    result = run("pra-grpo", "--config", config)
    assert result.exit_code == 2 and "pip install ./trainers/pra_grpo" in result.output
