"""The event loop of a run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

if sys.platform == "win32":
    from asyncio import new_event_loop
else:
    from uvloop import new_event_loop

T = TypeVar("T")


def run_in_loop(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` in a faster loop, where the platform has it."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(work)
