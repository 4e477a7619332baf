import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2r_bench.engines.give_way import give_way

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")

FAMILY = """
import subprocess, sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.readline()
child.communicate(b"\\n")
"""


def levels(pid: int) -> list[int]:
    """Of every thread of a process."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [os.getpriority(os.PRIO_PROCESS, int(thread.name)) for thread in threads]


def test_all_threads_of_a_process_and_of_its_children_give_way() -> None:
    here = os.getpriority(os.PRIO_PROCESS, 0)
    process = subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        give_way([process.pid], 19)
        assert levels(process.pid) == [19, 19]
        assert levels(child) == [19]
    finally:
        process.communicate("\n")
    assert os.getpriority(os.PRIO_PROCESS, 0) == here


def test_a_process_that_has_ended_is_passed_over() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    give_way([process.pid])
