"""A plugin for every process of these tests: the scripted engine under a name, and scripts for it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from p2r_bench import hookimpl
from p2r_bench.engines.scripted import by_digest
from p2r_bench.types import Request

FATAL_SAMPLE = "4K/29"
MARKS = "P2R_BENCH_TEST_MARKS"
"""Environment variable: the folder in which a test leaves its orders."""


@hookimpl
def register_engines(register: Any) -> None:
    register("scripted", "p2r_bench.engines.scripted:ScriptedEngine")


def mortal(request: Request) -> str:
    """`by_digest`; the process that reasons about `FATAL_SAMPLE` is killed, once for each order to do so."""
    if request.role == "reason" and request.sample_id == FATAL_SAMPLE:
        try:
            (Path(os.environ.get(MARKS, "no-folder")) / "kill").unlink()
        except FileNotFoundError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return by_digest(request)
