"""verl as a child process that does not outlive this one."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

POLL_S = 1.0
STOP_S = 60.0
"""Seconds in which verl may shut its cluster down before it is killed."""

_PR_SET_PDEATHSIG = 1


def run(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    meanwhile: Callable[[], None],
) -> int:
    """Run a command with its output in a file, and return its exit status.

    Args:
        meanwhile: Function called about once a second while the command runs, and once at its end. When it raises, the
            command is stopped.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env={**os.environ, **environment},
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    try:
        while True:
            try:
                status = child.wait(POLL_S)
                meanwhile()
                return status
            except subprocess.TimeoutExpired:
                meanwhile()
    finally:
        _stop(child)


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a file."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 65536))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    ends = time.monotonic() + STOP_S
    while child.poll() is None and time.monotonic() < ends:
        time.sleep(0.1)
    if child.poll() is None:
        child.kill()
        child.wait()


def _die_with_parent() -> None:
    """Make the system kill the child when its parent ends, so that the next training does not run beside it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
