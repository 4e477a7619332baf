"""Processes that leave the cores to others."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

LEVEL = 15
"""Of `nice`: a core is shared about 30 to 1 with a thread at 0, and belongs to the process while nobody else wants it."""


def give_way(pids: Iterable[int], level: int = LEVEL) -> None:
    """Let these processes, and those they have started, run when nobody at a better level wants a core.

    Linux keeps the level per thread, and new threads and processes inherit it. Where there is no /proc,
    nothing is changed.
    """
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):  # no /proc, or it has just ended
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with suppress(FileNotFoundError, ProcessLookupError):
                    os.setpriority(os.PRIO_PROCESS, int(thread.name), level)
                    give_way(map(int, (thread / "children").read_text("ascii").split()), level)
