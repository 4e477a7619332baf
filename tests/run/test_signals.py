"""Signals to a real `p2r-bench run`: a line at once, status 130, and nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.run.conftest import write_bench
from tests.run.test_interruptions import wait_for_records

ROOT = Path(__file__).parents[2]


class Process:
    """A `p2r-bench` process whose stderr is read line by line."""

    def __init__(self, *arguments: str, slow_writing: float = 0.0, streams: str = "") -> None:
        first = ["--slow-writing", str(slow_writing)] if slow_writing else []
        command = [sys.executable, "-m", "tests.run.cli_child", *first, *arguments]
        in_shell = ["bash", "-o", "pipefail", "-c", f'"$@" {streams}', "bash"] if streams else []
        self.popen = subprocess.Popen(
            [*in_shell, *command],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.said: list[str] = []

    def wait_for(self, text: str) -> None:
        """Read stderr up to a line with a text."""
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self.said.append(line.rstrip("\n"))
            if text in line:
                return
        raise AssertionError(f"{text!r} was never said: {self.said}")

    def signal(self, number: signal.Signals = signal.SIGINT) -> None:
        self.popen.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Exit status, stdout and the whole of stderr."""
        output, rest = self.popen.communicate(timeout=100)
        return self.popen.returncode, output, "\n".join([*self.said, rest])


Starter = Callable[..., Process]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Starter]:
    data, made = write_bench(tmp_path / "data", questions=10), []

    def start(engine: str, *more: str, **options: Any) -> Process:
        common = ("--tasks", "HR-Bench", "--data-dir", str(data), "--profile", "tiny")
        out = ("--out", str(tmp_path / "out"))
        given = ("run", *common, *out, "--model", "m", "--engine", engine, *more)
        made.append(Process(*given, **options))
        return made[-1]

    yield start
    for process in made:
        process.popen.kill()
        process.popen.communicate()


SLOW = ("--mode", "default", "--engine-arg", "latency=0.5", "--in-flight", "2")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_samples_run_is_acknowledged_and_keeps_them(
    started: Starter, number: signal.Signals, tmp_path: Path
) -> None:
    process = started("scripted", *SLOW)
    wait_for_records(tmp_path / "out", process.popen, 1)
    process.signal(number)
    process.wait_for("stopping; finished samples are kept")
    if number == signal.SIGHUP:  # comes twice when a terminal closes
        process.signal(number)
    status, output, errors = process.end()
    assert status == 130 and "Traceback" not in errors
    assert "The same command resumes the run" in errors and "samples run in this session" in output
    assert list(tmp_path.glob("out/runs/*/samples.parquet"))


def test_a_signal_while_the_model_loads_ends_with_the_status_of_an_interruption(
    started: Starter, tmp_path: Path
) -> None:
    process = started("slowstart", "--mode", "default")
    process.wait_for("starting m …")
    process.signal()
    process.wait_for("Interrupted: stopping")
    status, _, errors = process.end()
    assert status == 130 and "Traceback" not in errors
    assert not list(tmp_path.glob("out/runs/*"))


def test_a_second_signal_ends_at_once_without_a_traceback(started: Starter, tmp_path: Path) -> None:
    process = started("slowstart", "--mode", "default")
    process.wait_for("starting m …")
    process.signal()
    process.wait_for("Once more ends the process at once")
    process.signal()
    status, _, errors = process.end()
    assert status == 130 and "Traceback" not in errors
    assert not list(tmp_path.glob("out/runs/*"))


def test_a_signal_before_the_first_sample_is_recorded_leaves_no_run(
    started: Starter, tmp_path: Path
) -> None:
    slow = ("--mode", "default", "--engine-arg", "latency=60", "--canaries", "off")
    process = started("scripted", *slow)
    manifests = []
    while not any('"sessions": [\n' in text for text in manifests):
        manifests = [path.read_text() for path in tmp_path.glob("out/runs/*/manifest.json")]
    process.signal()
    status, _, errors = process.end()
    assert status == 130 and "Traceback" not in errors
    assert not list(tmp_path.glob("out/runs/*"))
    assert not list(tmp_path.glob("out/leaderboard.parquet"))


def test_the_final_write_is_finished_and_the_next_run_not_begun(
    started: Starter, tmp_path: Path
) -> None:
    process = started("scripted", "--mode", "default,p2r", slow_writing=2.0)
    process.wait_for("writing")
    process.signal()
    process.wait_for("writing the results of this run first")
    status, output, errors = process.end()
    assert status == 130 and "written" in errors
    assert output.count("samples run in this session") == 1
    (run,) = tmp_path.glob("out/runs/*/metrics.parquet")
    assert "default" in str(run)


def test_a_second_signal_during_the_final_write_ends_at_once_and_loses_nothing(
    started: Starter, tmp_path: Path
) -> None:
    process = started("scripted", "--mode", "default", slow_writing=60.0)
    process.wait_for("writing")
    process.signal()
    process.wait_for("Once more")
    for _ in range(4):
        process.signal()
    status, _, errors = process.end()
    assert status == 130 and "Traceback" not in errors and "written" not in errors
    status, output, errors = started("scripted", "--mode", "default").end()
    assert status == 0 and " 0 samples run in this session" in output, errors


def test_signals_before_the_command_is_known_end_with_one_line(started: Starter) -> None:
    process = started("scripted", "--mode", "default")
    caught = Path(f"/proc/{process.popen.pid}/status")
    while not int(caught.read_text().partition("SigCgt:")[2].split()[0], 16) & 1:  # SIGHUP
        assert process.popen.poll() is None
    for _ in range(5):
        process.signal()
    assert process.end() == (130, "", "Interrupted.\n")


@pytest.mark.parametrize("streams", ["<&- >&- 2>&-", "2>&1 | head -1"])
def test_a_reader_that_goes_costs_no_result(started: Starter, tmp_path: Path, streams: str) -> None:
    process = started("scripted", "--mode", "default,p2r", streams=streams)
    assert process.popen.wait(timeout=100) == 0, process.end()
    assert len(list(tmp_path.glob("out/runs/*/metrics.parquet"))) == 2
    (journal, _) = tmp_path.glob("out/runs/*/journal.jsonl")
    assert all(line.startswith(b"{") for line in journal.read_bytes().splitlines())


def test_results_are_printed_as_each_run_ends(started: Starter) -> None:
    process = started("scripted", "--mode", "default,p2r", "--engine-arg", "latency=0.1")
    process.wait_for("HR-Bench · p2r: 40 samples")
    assert process.popen.stdout is not None
    assert process.popen.stdout.readline().startswith("HR-Bench 4K · default · m: accuracy")
    assert process.popen.poll() is None
    assert process.end()[0] == 0


def test_json_is_all_that_stands_on_stdout_also_when_interrupted(
    started: Starter, tmp_path: Path
) -> None:
    process = started("scripted", *SLOW, "--json")
    wait_for_records(tmp_path / "out", process.popen, 1)
    process.signal()
    status, output, _ = process.end()
    (result,) = json.loads(output)
    assert status == 130 and result["interrupted"]
