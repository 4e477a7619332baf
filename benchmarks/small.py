"""Runs over small images with an engine that answers at once: what the pipeline itself takes."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import data
from benchmarks.running import SLEEPING, TASK, OneEngine, Timed, timed_run
from p2r_bench.engines.scripted import ScriptedEngine
from p2r_bench.run.spec import RunSpec
from p2r_bench.types import EngineConfig

PROFILE = "tiny"


def small_spec(cache: Path, rows: int, out: Path) -> RunSpec:
    """p2r over `rows` rows of 96×64 pixels."""
    folder = data.small_rows(cache, rows)
    return RunSpec(TASK, choice=SLEEPING, data_dir=folder, out=out, profile=PROFILE)


async def small_run(cache: Path, rows: int, out: Path) -> Timed:
    """A run of `rows` rows into `out`."""
    engines = OneEngine(ScriptedEngine(EngineConfig("scripted", args={"places": "64"})))
    return await timed_run(small_spec(cache, rows, out), engines)


def working_rows_per_s(timed: Timed) -> float:
    """Rows per second from the first row to the last one's place on disk, without looking up and summing up."""
    manifest = json.loads((timed.result.path / "manifest.json").read_text("utf-8"))
    accounting = manifest["sessions"][-1]["noted"]["accounting"]
    return float(accounting["rows"] / accounting["seconds"])
