"""Contract of trainers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from p2r_bench.errors import UserError
from p2r_bench.testing.naming import named
from p2r_bench.types import Trainer


class TrainerContract:
    """Contract of trainers. Subclass it, name the trainer and return a small configuration; pytest then runs the
    checks.

        class TestSFT(TrainerContract):
            trainer = "sft"

            def config(self, folder):
                return {"output": str(folder), "steps": 2}

    Attributes:
        trainer: The registered name, or the class.
        plugin: The module with the plugin's hooks; without it the plugin has to be installed.
    """

    trainer: Any
    plugin: Any = None

    def config(self, folder: Path) -> Mapping[str, Any]:
        """Return a configuration, like the user's TOML file, that trains for seconds and writes into the folder."""
        raise NotImplementedError(f"{type(self).__name__} has to define `config(folder)`")

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Output folder of a test's training."""
        folder = tmp_path / "training"
        folder.mkdir()
        return folder

    def make(self, folder: Path) -> Trainer:
        """Return a fresh instance, as after an interruption."""
        trainer: Trainer = named("trainer", self.trainer, self.plugin)(self.config(folder))
        return trainer

    def test_it_is_a_trainer(self, folder: Path) -> None:
        assert isinstance(self.make(folder), Trainer), "a trainer has plan, run and status"

    def test_the_plan_takes_no_step(self, folder: Path) -> None:
        before = self.make(folder).status()
        plan = list(self.make(folder).plan())
        assert plan and all(isinstance(step, Mapping) for step in plan)
        json.dumps([dict(step) for step in plan])
        assert list(self.make(folder).plan()) == plan
        assert self.make(folder).status() == before

    def test_status_can_be_asked_before_the_first_step(self, folder: Path) -> None:
        json.dumps(dict(self.make(folder).status()))

    def test_a_run_does_what_is_planned_and_says_so(self, folder: Path) -> None:
        before = self.make(folder).status()
        self.make(folder).run()
        after = self.make(folder).status()
        json.dumps(dict(after))
        assert after != before

    def test_a_finished_run_can_be_called_again(self, folder: Path) -> None:
        self.make(folder).run()
        done = _files(folder)
        self.make(folder).run()
        assert _files(folder) == done, "a second run must not do again what is done"

    def test_a_configuration_with_an_unknown_key_is_refused(self, folder: Path) -> None:
        config = {**self.config(folder), "no_such_key": 1}
        with pytest.raises(UserError, match="no_such_key"):
            named("trainer", self.trainer, self.plugin)(config).plan()


def _files(folder: Path) -> dict[str, int]:
    """Return all files below the folder with the time of their last change."""
    return {str(p): p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}
