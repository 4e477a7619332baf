"""`data fetch` and `data synth` put data where a run finds it, and say where it came from."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from p2r_bench.cli import main
from p2r_bench.tasks.hr_bench import HRBench
from p2r_bench.tasks.location import Origin
from p2r_bench.tasks.vstar import VStar
from p2r_bench.types import DataSource
from tests.tasks.files import HR_BENCH, VSTAR, hr_bench_rows, vstar_folder, vstar_row, write

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """A hub with three datasets, and what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.fault: Exception | None = None

    def dataset_info(self, _api: Any, repo_id: str, *, revision: str | None = None) -> Any:
        if self.fault:
            raise self.fault
        self.asked.append((repo_id, revision))
        return SimpleNamespace(sha=COMMIT)

    def snapshot_download(
        self,
        repo_id: str,
        *,
        repo_type: str,
        revision: str,
        local_dir: Path,
        allow_patterns: list[str],
    ) -> str:
        assert (repo_type, revision) == ("dataset", COMMIT)
        if repo_id == "DreamMr/HR-Bench":
            assert allow_patterns == ["*.parquet"]
            write(local_dir / "hr_bench_4k.parquet", hr_bench_rows(1), HR_BENCH)
        elif repo_id == "lmms-lab/vstar-bench":
            write(local_dir / "data" / "test.parquet", [vstar_row(n) for n in range(4)], VSTAR)
        else:
            assert "direct_attributes/*" in allow_patterns
            vstar_folder(local_dir)
        return str(local_dir)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("P2R_BENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(
        "huggingface_hub.HfApi.dataset_info", lambda *a, **k: hub.dataset_info(*a, **k)
    )
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub.snapshot_download)
    return hub


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["data", *arguments])


def test_fetched_data_is_found_without_further_options(hub: Hub, tmp_path: Path) -> None:
    assert run("fetch", "HR-Bench").exit_code == 0
    assert len(list(HRBench().samples(DataSource()))) == 4
    origin = Origin.read(tmp_path / "data" / "HR-Bench")
    assert origin == Origin("HR-Bench", {"DreamMr/HR-Bench": COMMIT})


def test_vstar_is_fetched_with_its_boxes(hub: Hub) -> None:
    shown = run("fetch", "V-Star", "--json")
    assert json.loads(shown.output)["revisions"] == {
        "lmms-lab/vstar-bench": COMMIT,
        "craigwu/vstar_bench": COMMIT,
    }
    samples = list(VStar().samples(DataSource()))
    assert len(samples) == 4
    assert all(sample.boxes and sample.options == {"A": "red", "B": "blue"} for sample in samples)


def test_revision_and_folder_are_taken(hub: Hub, tmp_path: Path) -> None:
    run("fetch", "V-Star", "--revision", "v1", "--out", str(tmp_path / "here"))
    assert hub.asked == [("lmms-lab/vstar-bench", "v1"), ("craigwu/vstar_bench", None)]
    assert len(list(VStar().samples(DataSource(tmp_path / "here")))) == 4


def test_unreachable_hub_is_an_error_with_ways_out(hub: Hub) -> None:
    hub.fault = httpx.ConnectError("no route to host")
    shown = run("fetch", "HR-Bench")
    assert shown.exit_code == 2
    for part in (
        "DreamMr/HR-Bench could not be fetched: the hub at ",
        "cannot be reached: no route to host",
        "hf download --repo-type dataset DreamMr/HR-Bench",
        "--data-dir",
        "HF_ENDPOINT",
        "data synth",
    ):
        assert part in shown.output


def test_a_full_disk_is_told_as_such(hub: Hub) -> None:
    hub.fault = OSError(errno.ENOSPC, "No space left on device", "shard.parquet")
    shown = run("fetch", "HR-Bench")
    assert shown.exit_code == 2
    assert "No space left on device" in shown.output and "--out" in shown.output


def test_generated_task_has_nothing_to_fetch(hub: Hub) -> None:
    shown = run("fetch", "Synth-HR")
    assert shown.exit_code == 2
    assert "p2r-bench run --tasks Synth-HR" in shown.output


def test_synthesised_data_is_read_by_the_task_of_its_format(tmp_path: Path) -> None:
    shown = run("synth", "--rows", "4", "--seed", "5", "--out", str(tmp_path / "d"), "--json")
    assert shown.exit_code == 0
    assert json.loads(shown.output) | {"file": ""} == {
        "task": "HR-Bench",
        "file": "",
        "format": "hrbench",
        "seed": 5,
        "rows": 4,
        "resolution": "4k",
        "split": "test",
    }
    assert len(list(HRBench().samples(DataSource(tmp_path / "d")))) == 4
    assert run("check", "HR-Bench", "--data-dir", str(tmp_path / "d")).exit_code == 0


def test_synthesised_and_other_data_are_not_mixed(hub: Hub, tmp_path: Path) -> None:
    real, synthetic = tmp_path / "real", tmp_path / "synthetic"
    write(real / "hr_bench_4k.parquet", hr_bench_rows(1), HR_BENCH)
    Origin("HR-Bench", {}, synthetic=True).write(tmp_path)
    synthetic.mkdir()
    Origin("V-Star", {}, synthetic=True).write(synthetic)
    for command in (
        ("synth", "--rows", "1", "--out", str(real)),
        ("synth", "--rows", "1", "--out", str(synthetic)),
        ("fetch", "HR-Bench", "--out", str(synthetic)),
    ):
        shown = run(*command)
        assert shown.exit_code == 2
        assert "give another folder with --out" in shown.output


def test_damaged_record_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "p2r_bench_data.json").write_text("{")
    shown = run("synth", "--rows", "1", "--out", str(tmp_path))
    assert shown.exit_code == 2
    assert "p2r_bench_data.json: damaged" in shown.output
