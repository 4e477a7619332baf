"""Processor time and peak memory of processes."""

from __future__ import annotations

import os
import re
import resource
import sys
from pathlib import Path


def cpu_seconds() -> float:
    """Return the processor time of this process, its ended children and, on Linux, its running ones."""
    who = [resource.getrusage(which) for which in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in who) + sum(_running_children())


def own_cpu_seconds() -> float:
    """Return the processor time of this process alone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mb() -> float:
    """Return the peak memory of this process in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss begins with the parent's peak there
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text("utf-8"))
        assert found is not None
        return int(found[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _running_children() -> list[float]:
    parents, seconds = {}, {}
    tick = os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue  # the process has just ended
        pid = int(stat.parent.name)
        parents[pid] = int(fields[1])
        # user and system time, its own and of ended children
        seconds[pid] = sum(int(field) for field in fields[11:15]) / tick
    found: set[int] = set()
    layer = {os.getpid()}
    while layer := {pid for pid, parent in parents.items() if parent in layer}:
        found |= layer
    return [seconds[pid] for pid in found]
