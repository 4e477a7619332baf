"""Servers are started, adopted, checked and stopped; what is wrong with one is told with its log."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from p2r_bench_pra_grpo.config import ServiceConfig
from p2r_bench_pra_grpo.services.processes import birth, stop
from p2r_bench_pra_grpo.services.server import Server, read_record, served_models
from pra_grpo_testing import FakeServer

from p2r_bench import UserError

FAKE = (sys.executable, "-m", "pra_grpo_testing.server", "--port", "{port}")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.fixture
def service() -> ServiceConfig:
    return ServiceConfig(
        kind="start", command=(*FAKE, "--model", "{name}"), port=free_port(), start_timeout=60.0
    )


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    made: list[Server] = []
    yield made
    for server in made:
        server.stop()


def server(
    servers: list[Server], service: ServiceConfig, folder: Path, name: str = "frozen"
) -> Server:
    made = Server("reasoner", service, "the/model", name, folder, lambda line: None)
    servers.append(made)
    return made


def test_a_server_is_started_once_and_adopted_by_the_next_trainer(
    servers: list[Server], service: ServiceConfig, tmp_path: Path
) -> None:
    server(servers, service, tmp_path).ensure()
    assert served_models(service.url) == ["frozen"]
    first = read_record(tmp_path / "reasoner.json")
    again = server(servers, service, tmp_path)
    again.ensure()
    assert read_record(tmp_path / "reasoner.json") == first
    again.stop()
    assert served_models(service.url) is None and not (tmp_path / "reasoner.json").exists()


def test_a_server_of_other_weights_is_replaced(
    servers: list[Server], service: ServiceConfig, tmp_path: Path
) -> None:
    server(servers, service, tmp_path, "old").ensure()
    server(servers, service, tmp_path, "new").ensure()
    assert served_models(service.url) == ["new"]


def test_a_server_that_ends_is_told_with_its_log(
    servers: list[Server], service: ServiceConfig, tmp_path: Path
) -> None:
    command = (sys.executable, "-c", "raise SystemExit('out of memory')")
    broken = replace(service, command=command)
    with pytest.raises(
        UserError, match=r"the server has ended; .*reasoner\.log ends with\n  out of"
    ):
        server(servers, broken, tmp_path).ensure()


def test_a_command_that_is_not_there_is_told(
    servers: list[Server], service: ServiceConfig, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no-such-server"):
        server(servers, replace(service, command=("no-such-server",)), tmp_path).ensure()


def test_a_server_that_does_not_answer_in_time_is_told(
    servers: list[Server], service: ServiceConfig, tmp_path: Path
) -> None:
    slow = replace(service, command=(*service.command, "--delay", "60"), start_timeout=0.5)
    with pytest.raises(UserError, match=r"no answer from .* in 0\.5 s"):
        server(servers, slow, tmp_path).ensure()


def test_a_command_that_serves_another_name_is_told(
    servers: list[Server], service: ServiceConfig, tmp_path: Path
) -> None:
    other = replace(service, command=(*FAKE, "--model", "other"))
    with pytest.raises(UserError, match="serves other, not frozen"):
        server(servers, other, tmp_path).ensure()


def test_somebody_elses_server_on_the_port_is_left_alone(
    servers: list[Server], service: ServiceConfig, tmp_path: Path
) -> None:
    with FakeServer("theirs", port=service.port):
        with pytest.raises(UserError, match=r"another server answers there \(it serves theirs\)"):
            server(servers, service, tmp_path).ensure()
        assert served_models(service.url) == ["theirs"]


def test_gpus_and_placeholders_reach_the_command(service: ServiceConfig, tmp_path: Path) -> None:
    words = ("serve", "{model}", "--name={name}", '{"image": 4}')
    made = server([], replace(service, command=words, gpus=(2, 3)), tmp_path)
    assert made.command == ["serve", "the/model", "--name=frozen", '{"image": 4}']
    assert made.environment == {"CUDA_VISIBLE_DEVICES": "2,3"}


def test_a_process_is_told_apart_from_a_later_one_with_its_number() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    born = birth(process.pid)
    assert born is not None and birth(os.getpid()) not in (None, born)
    stop(process.pid, "another time")
    assert process.poll() is None
    stop(process.pid, born)
    assert process.wait() != 0 and birth(process.pid) is None


def test_a_process_that_ignores_the_polite_signal_is_ended() -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline()
    stop(process.pid, birth(process.pid), grace=0.2)
    assert process.wait() == -9
