"""`p2r-bench` with engines of these tests: python -m tests.run.cli_child run …"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any

from PIL import Image

from p2r_bench.__main__ import main
from p2r_bench.engines.scripted import ScriptedEngine
from p2r_bench.plugins import Entry, discover
from p2r_bench.store.run_folder import RunFolder
from p2r_bench.types import Completion, Request


class Scripted(ScriptedEngine):
    """Takes `--engine-arg latency=` seconds an answer."""


class SlowStart(ScriptedEngine):
    """Loads for a minute in a thread that nothing can stop."""

    async def start(self) -> None:
        await asyncio.to_thread(time.sleep, 60)


class Broken(ScriptedEngine):
    """Fails every third sample."""

    async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
        if int(request.sample_id.rpartition("/")[2]) % 3 == 0:
            raise TimeoutError(f"no reply to {request.sample_id} in 5 s")
        return await super().generate(request, images)


def slow_writing(seconds: float) -> None:
    """Make the final write take longer, and say when it begins and ends."""
    finish = RunFolder.finish

    def slow(self: RunFolder, *args: Any, **kwargs: Any) -> Any:
        sys.stderr.write("writing\n")
        sys.stderr.flush()
        time.sleep(seconds)
        rows = finish(self, *args, **kwargs)
        sys.stderr.write("written\n")
        sys.stderr.flush()
        return rows

    RunFolder.finish = slow  # type: ignore[method-assign]


if __name__ == "__main__":
    for kind in (Scripted, SlowStart, Broken):
        entry = Entry(kind.__name__.lower(), f"tests.run.cli_child:{kind.__name__}", "tests", "0")
        discover()._commit("engine", entry)
    if sys.argv[1] == "--slow-writing":
        slow_writing(float(sys.argv[2]))
        del sys.argv[1:3]
    main()
