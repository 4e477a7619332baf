"""Whole runs with one engine, timed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from p2r_bench.run.engines import EngineSet
from p2r_bench.run.result import RunResult
from p2r_bench.run.runner import run
from p2r_bench.run.schedule.launchers import Launchers
from p2r_bench.run.spec import EngineChoice, RunSpec
from p2r_bench.tasks.hr_bench import HRBench
from p2r_bench.types import DataSource, Engine, Sample

TASK = "HR-Bench"
SLEEPING = EngineChoice("sleeping", "sleeping")


class OneEngine(EngineSet):
    """An engine set with the same engine for every choice."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def get(self, choice: EngineChoice, family: str | None = None) -> Engine:
        return self._engine


@dataclass(frozen=True)
class Timed:
    """A run and its wall time, from resolving names to the leaderboard's rows.

    Attributes:
        texts: Texts of the calls of each sample, in order, by id.
    """

    result: RunResult
    seconds: float
    texts: dict[str, tuple[str, ...]]

    @property
    def rows_per_s(self) -> float:
        return self.result.added / self.seconds


async def timed_run(spec: RunSpec, engines: EngineSet, launchers: Launchers | None = None) -> Timed:
    """Run with a started engine; every row must have an answer.

    Raises:
        SystemExit: Rows ended in errors, which makes the figure meaningless.
    """
    begun = time.perf_counter()
    result = await run(spec, engines, launchers=launchers)
    seconds = time.perf_counter() - begun
    errors = sum(row["n_errors"] for row in result.metrics if row["headline"])
    if errors or not result.complete:
        raise SystemExit(f"the run did not complete: {errors} errors; see {result.path}")
    return Timed(result, seconds, texts_of(result.path))


def texts_of(run_folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the texts of the calls of each sample, by id."""
    table = pq.read_table(run_folder / "samples.parquet", columns=["sample_id", "stages"])
    return {
        row["sample_id"]: tuple(stage["text"] for stage in row["stages"])
        for row in table.to_pylist()
    }


def samples_of(data_dir: Path) -> list[Sample]:
    """Return all rows, without their images."""
    return list(HRBench().samples(DataSource(data_dir)))


@contextmanager
def results_folder() -> Iterator[Path]:
    """Return a context with a temporary folder for runs."""
    with tempfile.TemporaryDirectory(prefix="p2r-bench-benchmark-") as folder:
        yield Path(folder)
