"""A run that is killed or stopped goes on where it was, and ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from p2r_bench.store.equal import differences
from tests.run.child import main as run_here
from tests.run.conftest import write_bench

ROOT = Path(__file__).parents[2]
SAMPLES = 80


def started(data: Path, out: Path, delay: float = 0.05) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.run.child", str(data), str(out), str(delay)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def run_folder(out: Path) -> Path:
    (folder,) = (out / "runs").iterdir()
    return folder


def wait_for_records(out: Path, process: subprocess.Popen[str], at_least: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        journals = list(out.glob("runs/*/journal.jsonl"))
        if journals and journals[0].read_bytes().count(b"\n") >= at_least:
            return
        time.sleep(0.01)
    raise AssertionError("the run recorded nothing within a minute")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_bench(tmp_path / "data", questions=SAMPLES // 4)


@pytest.fixture
def undisturbed(data: Path, tmp_path: Path) -> Path:
    out = tmp_path / "undisturbed"
    assert run_here(str(data), str(out), "0") == 0
    return run_folder(out)


def added_in(output: str) -> int:
    """Return the number of samples that a child reports."""
    return int(output.split("added ")[1].split()[0])


def test_kill_9_in_the_middle_changes_nothing_in_the_end(
    data: Path, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "killed"
    for records in (5, 40):
        process = started(data, out)
        wait_for_records(out, process, records)
        process.kill()
        process.communicate()
    capsys.readouterr()
    assert run_here(str(data), str(out), "0") == 0
    assert 0 < added_in(capsys.readouterr().out) < SAMPLES
    assert differences(run_folder(out), undisturbed) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_the_same_command_goes_on(
    data: Path,
    undisturbed: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    out = tmp_path / "stopped"
    process = started(data, out)
    wait_for_records(out, process, 5)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted True" in output
    assert (run_folder(out) / "samples.parquet").exists()
    capsys.readouterr()
    assert run_here(str(data), str(out), "0") == 0
    assert added_in(output) + added_in(capsys.readouterr().out) == SAMPLES
    assert differences(run_folder(out), undisturbed) == []


def test_two_processes_do_not_write_the_same_run(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "shared"
    first = started(data, out, delay=2.0)
    wait_for_records(out, first, 1)
    second = started(data, out)
    _, errors = second.communicate(timeout=60)
    assert second.returncode != 0 and str(first.pid) in errors
    first.kill()
    first.communicate()
