"""Identification, by pid and start time, and stop of processes that may outlive the trainer."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

_GRACE_S = 30.0
_POLL_S = 0.05


def birth(pid: int) -> str | None:
    """Return the start time of a process, as the system gives it; None when it does not run.

    Pid and start time together identify a process.
    """
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            after_name = stat.read_text("utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if after_name[0] in "ZX" else after_name[19]
    line = subprocess.run(
        ["ps", "-o", "lstart=,stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    started, _, state = line.rpartition(" ")
    return started.strip() if line and not state.startswith("Z") else None


def stop(pid: int, born: str | None, *, grace: float = _GRACE_S) -> None:
    """Terminate a process and its group, and kill them after `grace` seconds. Another process with the same pid is left alone."""
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, _GRACE_S)):
        if born is None or birth(pid) != born:
            return
        with suppress(ProcessLookupError):
            os.killpg(pid, number) if os.getpgid(pid) == pid else os.kill(pid, number)
        until = time.monotonic() + patience
        while birth(pid) == born and time.monotonic() < until:
            time.sleep(_POLL_S)
