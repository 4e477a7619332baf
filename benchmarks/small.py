"""Runs over small images with an engine that answers at once, to measure the pipeline's overhead."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from benchmarks import data
from benchmarks.running import SLEEPING, TASK, OneEngine, Timed, timed_run
from p2r_bench.run.spec import RunSpec
from p2r_bench.types import Capabilities, Completion, Request

PROFILE = "tiny"
TEXTS = {
    "perceive": '[{"bbox_2d": [100, 100, 600, 700], "label": "square"}]',
    "reason": "<think>The square is seen up close.</think><answer>A</answer>",
    "answer": "A",
}


class InstantEngine:
    """Engine that answers at once, by role."""

    async def identify(self) -> str:
        """See `Engine.identify`."""
        return hashlib.sha256(b"instant engine").hexdigest()

    async def start(self) -> None:
        """See `Engine.start`."""

    def capabilities(self) -> Capabilities:
        """See `Engine.capabilities`."""
        return Capabilities(concurrency=64, facts={"engine": "instant"})

    async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
        """See `Engine.generate`. Yields to the event loop, as every engine must."""
        await asyncio.sleep(0)
        return Completion(TEXTS[request.role], prompt_tokens=100, cached_tokens=0, output_tokens=20)

    async def close(self) -> None:
        """See `Engine.close`."""


def small_spec(cache: Path, rows: int, out: Path) -> RunSpec:
    """Return the spec of p2r over `rows` rows of 96×64 pixels."""
    folder = data.small_rows(cache, rows)
    return RunSpec(TASK, choice=SLEEPING, data_dir=folder, out=out, profile=PROFILE)


async def small_run(cache: Path, rows: int, out: Path) -> Timed:
    """Run `rows` rows into `out`."""
    return await timed_run(small_spec(cache, rows, out), OneEngine(InstantEngine()))


def working_rows_per_s(timed: Timed) -> float:
    """Return rows per second from the first row's start until the last is on disk."""
    manifest = json.loads((timed.result.path / "manifest.json").read_text("utf-8"))
    accounting = manifest["sessions"][-1]["noted"]["accounting"]
    return float(accounting["rows"] / accounting["seconds"])
