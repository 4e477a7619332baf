"""Options that cannot be honoured are refused, with the way out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from p2r_bench.errors import UserError
from p2r_bench.run.ray import cluster as clusters
from p2r_bench.run.ray.cluster import Cluster
from p2r_bench.run.spec import RunSpec
from p2r_bench.run.sweep import read_sweep, specs_of
from p2r_bench.session import run_all


def resources(value: Any) -> Mapping[str, float] | None:
    (spec,) = specs_of({"tasks": "V-Star", "launcher": "ray", "replica_resources": value})
    return spec.replica_resources


def test_without_ray_the_error_names_the_package(
    spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"^--launcher ray needs .*pip install 'p2r-bench\[ray\]'"):
        run_all([replace(spec, launcher="ray", replicas=2)])


def test_a_finished_run_needs_no_cluster(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    (done,) = run_all([spec])
    monkeypatch.setitem(sys.modules, "ray", None)
    (again,) = run_all([replace(spec, launcher="ray", replicas=2)])
    assert again.added == 0 and again.run_id == done.run_id


@pytest.mark.parametrize(
    "changes",
    [{"replicas": 2}, {"ray_address": "local"}, {"replica_resources": {"GPU": 1.0}}],
    ids=lambda changes: next(iter(changes)),
)
def test_options_of_replicas_need_the_ray_launcher(spec: RunSpec, changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"belongs to --launcher ray"):
        run_all([replace(spec, **changes)])


def test_resources_are_read_from_text_and_tables() -> None:
    assert resources("GPU=2, CPU=8,L40S=0.5") == {"GPU": 2, "CPU": 8, "L40S": 0.5}
    assert resources({"GPU": 1}) == {"GPU": 1}


@pytest.mark.parametrize("value", ["GPU", "GPU=many", "GPU=-1", "=2", "GPU=inf", {"GPU": "1"}])
def test_resources_that_are_no_amounts_are_refused(value: Any) -> None:
    with pytest.raises(UserError, match="--replica-resources"):
        resources(value)


def test_a_sweep_file_may_ask_for_replicas(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text('tasks = "V-Star"\nlauncher = "ray"\nreplicas = 8\nray-address = "auto"\n')
    (options,) = read_sweep(file, {})
    (spec,) = specs_of(options)
    assert (spec.launcher, spec.replicas, spec.ray_address) == ("ray", 8, "auto")


class FakeRay(SimpleNamespace):
    """Enough of Ray to be joined; remembers how."""

    def __init__(self, *failures: Exception, resources: dict[str, float] | None = None) -> None:
        super().__init__()
        self.failures = list(failures)
        self.calls: list[dict[str, Any]] = []
        self.shutdowns = 0
        self.resources = resources or {"CPU": 8.0}

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: Any) -> None:
        self.calls.append(options)
        if self.failures:
            raise self.failures.pop(0)

    def shutdown(self) -> None:
        self.shutdowns += 1

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, kind: type) -> Any:
        return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=lambda *a: options))


@pytest.fixture
def join(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Joins a cluster through a fake Ray."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def with_ray(ray: FakeRay, cluster: Cluster) -> Any:
        monkeypatch.setattr(clusters, "import_ray", lambda: ray)
        return cluster.open()

    return with_ray


def test_where_no_cluster_runs_a_new_one_is_started(join: Any) -> None:
    ray = FakeRay(ConnectionError("none"))
    assert join(ray, Cluster())
    assert [call["address"] for call in ray.calls] == ["auto", "local"]


def test_a_cluster_that_was_named_is_not_replaced_by_a_new_one(join: Any) -> None:
    ray = FakeRay(ConnectionError("refused"))
    with pytest.raises(UserError, match=r"no Ray cluster answers at head:6379: refused"):
        join(ray, Cluster(address="head:6379"))
    assert len(ray.calls) == 1


def test_a_cluster_that_does_not_start_is_an_error_with_its_logs(join: Any) -> None:
    with pytest.raises(
        UserError, match=r"could not be started on this machine: timed out.*session_latest"
    ):
        join(FakeRay(Exception("timed out")), Cluster(address="local"))


def test_the_client_protocol_is_refused(join: Any) -> None:
    with pytest.raises(UserError, match="ray job submit"):
        join(FakeRay(), Cluster(address="ray://head:10001"))


def test_a_cluster_that_is_too_small_is_left_again(join: Any) -> None:
    ray = FakeRay(resources={"CPU": 8.0, "GPU": 4.0})
    with pytest.raises(UserError, match=r"8 replicas with GPU=1 each need GPU=8, .* has 4"):
        join(ray, Cluster(replicas=8, address="local"))
    assert ray.shutdowns == 1


def test_the_reason_of_a_loss_is_one_line() -> None:
    text = """The actor died unexpectedly before finishing this task.
    \tclass_name: Replica
    The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit \
detail: Worker unexpectedly exits. Some common causes include: (1) this, (2) that."""
    assert clusters.one_line(Exception(text)) == (
        "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit "
        "detail: Worker unexpectedly exits."
    )
