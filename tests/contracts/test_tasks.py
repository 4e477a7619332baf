"""The built-in tasks keep the contract that third-party tasks are held to, on files in their formats."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2r_bench.plugins import registry
from p2r_bench.testing import TaskContract, write_bench
from tests.tasks.files import MME, VSTAR, mme_row, vstar_folder, vstar_row, write


class TestVStarRows(TaskContract):
    task = "V-Star"

    def write_data(self, folder: Path) -> None:
        write(
            folder / "data" / "test-00000-of-00001.parquet", [vstar_row(n) for n in range(4)], VSTAR
        )


class TestVStarFiles(TaskContract):
    task = "V-Star"

    def write_data(self, folder: Path) -> None:
        vstar_folder(folder)


class TestHRBench(TaskContract):
    task = "HR-Bench"

    def write_data(self, folder: Path) -> None:
        write_bench(folder)


class MMERows(TaskContract):
    def write_data(self, folder: Path) -> None:
        rows = [mme_row(0), mme_row(1, category="Reasoning/Monitoring")]
        write(folder / "data" / "train-00000-of-00001.parquet", rows, MME)


class TestMMERealWorld(MMERows):
    task = "MME-RealWorld"


class TestMMERealWorldLite(MMERows):
    task = "MME-RealWorld-lite"


class TestSynthHR(TaskContract):
    task = "Synth-HR"
    params = {"rows": 8}  # noqa: RUF012

    @pytest.fixture(autouse=True)
    def cache(
        self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "synth-cache"))


def test_every_task_is_held_to_the_contract() -> None:
    contracts = [*TaskContract.__subclasses__(), *MMERows.__subclasses__()]
    assert {c.task for c in contracts if hasattr(c, "task") and c.__module__ == __name__} == set(
        registry().names("task")
    )
