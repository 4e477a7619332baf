"""Peak memory of this process alone."""

from __future__ import annotations

import re
import resource
from pathlib import Path


def peak() -> int:
    """Most MiB this process has held at once.

    `ru_maxrss` cannot fail a test that starts a process: on Linux it begins with the parent's peak.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20  # bytes, on macOS
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text("utf-8"))
    assert found is not None
    return int(found[1]) >> 10
