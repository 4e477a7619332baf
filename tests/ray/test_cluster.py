"""Real replicas on a Ray cluster of this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from p2r_bench.errors import UserError
from p2r_bench.run.progress import Silent, Tally
from p2r_bench.run.ray.cluster import connect, import_ray
from p2r_bench.run.result import RunResult
from p2r_bench.run.spec import RunSpec
from p2r_bench.session import run_all
from p2r_bench.store.equal import differences
from p2r_bench.store.manifest import Manifest
from p2r_bench.tasks.hr_bench import HRBench
from tests.ray.scripted import MARKS

pytestmark = pytest.mark.ray

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a test orders a death."""
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def address(marks: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster whose processes have the plugin of these tests installed, joined by this process."""
    site = tmp_path_factory.mktemp("site")
    info = site / "ray_tests-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ray-tests\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[p2r_bench]\nplugin = tests.ray.scripted\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{site}{os.pathsep}{ROOT}")
        patch.setenv("P2R_BENCH_LOAD_PLUGINS", "ray-tests")
        patch.setenv(MARKS, str(marks))
        ray = import_ray()
        connect(ray, "local")
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()


@pytest.fixture
def on_ray(spec: RunSpec, address: str) -> RunSpec:
    """The run of `spec`, on two replicas."""
    return replace(
        spec,
        launcher="ray",
        replicas=2,
        replica_resources={"CPU": 0.5},
        out=spec.out.parent / "on_ray",
    )


@pytest.fixture
def undisturbed(spec: RunSpec) -> Path:
    """The same run in one process."""
    return do(spec).path


def do(spec: RunSpec, view: Silent | None = None) -> RunResult:
    (result,) = run_all([spec], view)
    return result


def as_local(spec: RunSpec) -> RunSpec:
    return replace(spec, launcher="local", replicas=1, replica_resources=None)


def accounting(result: RunResult) -> dict[str, Any]:
    noted: dict[str, Any] = Manifest.read(result.path).sessions[-1]["noted"]["accounting"]
    return noted


def test_a_run_survives_a_killed_replica_and_equals_a_local_run(
    on_ray: RunSpec,
    undisturbed: Path,
    marks: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (marks / "kill").touch()
    result = do(on_ray)
    assert not (marks / "kill").exists()
    assert result.complete and result.added == 40
    assert differences(result.path, undisturbed) == []
    assert f"on {socket.gethostname()}, process" in caplog.text and "starts it again" in caplog.text
    assert capfd.readouterr().out == ""


def test_the_only_replica_is_started_again_when_it_is_killed(
    on_ray: RunSpec, undisturbed: Path, marks: Path
) -> None:
    (marks / "kill").touch()
    result = do(replace(on_ray, replicas=1))
    assert not (marks / "kill").exists()
    used = accounting(result)
    assert len(used["replicas"]) == 2
    assert used["stages"]["reason"]["calls"] == 40 and used["engine"]["capacity"] == 4
    assert differences(result.path, undisturbed) == []


class After(Silent):
    """Sends this process a signal once so many samples are written."""

    def __init__(self, done: int, number: signal.Signals) -> None:
        self._done = done
        self._number = number

    def update(self, tally: Tally) -> None:
        if tally.done == self._done:
            os.kill(os.getpid(), self._number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_the_same_command_goes_on(
    on_ray: RunSpec, undisturbed: Path, number: signal.Signals
) -> None:
    stopped = do(on_ray, After(8, number))
    assert stopped.interrupted and (stopped.path / "samples.parquet").exists()
    rest = do(as_local(on_ray))
    assert 0 < rest.added < 40
    assert differences(rest.path, undisturbed) == []


def test_a_run_begun_here_is_completed_by_replicas(on_ray: RunSpec, undisturbed: Path) -> None:
    do(replace(as_local(on_ray), limit=10))
    rest = do(on_ray)
    assert rest.added == 30
    assert differences(rest.path, undisturbed) == []


def test_replicas_stay_from_run_to_run(on_ray: RunSpec) -> None:
    first, second = run_all([on_ray, replace(on_ray, mode="default")])
    assert first.complete and second.complete
    assert set(accounting(first)["replicas"]) == set(accounting(second)["replicas"])


def test_other_data_on_a_node_is_refused(on_ray: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HRBench, "data_digest", lambda self, source: "what the driver has")
    with pytest.raises(
        UserError, match=r"replica \d on .*digest of HR-Bench's data in .*driver has"
    ):
        do(on_ray)


def test_a_node_without_the_data_is_named(on_ray: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def job_without_data(*args: Any) -> Any:
        job = job_of(*args)
        return replace(job, spec=replace(job.spec, data_dir=Path("/nowhere/hr-bench")))

    from p2r_bench.run.ray import launcher

    job_of = launcher.job_of
    monkeypatch.setattr(launcher, "job_of", job_without_data)
    with pytest.raises(UserError, match=rf"{socket.gethostname()}.*/nowhere/hr-bench"):
        do(on_ray)


def test_more_replicas_than_the_cluster_has_room_for_are_refused(on_ray: RunSpec) -> None:
    with pytest.raises(UserError, match=r"2 replicas with GPU=4 each need GPU=8, .* has 0"):
        do(replace(on_ray, replica_resources={"GPU": 4}))


def test_the_command_joins_a_running_cluster(on_ray: RunSpec, address: str, tmp_path: Path) -> None:
    """And nothing but the result is on standard output, and no file where it was called."""
    here = tmp_path / "here"
    here.mkdir()
    arguments = ["script=tests.ray.scripted:mortal", "latency=0.01", "places=4"]
    words = [
        *("run", "--tasks", "HR-Bench", "--data-dir", str(on_ray.data_dir), "--profile", "tiny"),
        *("--model", "scripted", "--engine", "scripted", "--json", "--out", str(on_ray.out)),
        *(word for argument in arguments for word in ("--engine-arg", argument)),
        *("--launcher", "ray", "--replicas", "2", "--replica-resources", "CPU=0.5"),
        *("--ray-address", address),
    ]
    command = [sys.executable, "-m", "p2r_bench", *words]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert result["complete"] and result["added"] == 40
    assert list(here.iterdir()) == []
