"""Time to open, finish and resume a run, by number of rows.

    python -m benchmarks.aggregate [--rows 1000,30000] [--json]

A run is made with small images and an engine that answers at once. `open_s` opens its folder, `finish_s` writes parquet
files, metrics and intervals, and `resume_s` is the whole command over the finished run. The last line is one JSON
object with open_s, finish_s and resume_s by rows, and ms_per_row of their sum.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

from benchmarks import data
from benchmarks.output import emit, options_of
from benchmarks.running import OneEngine, results_folder, samples_of
from benchmarks.small import InstantEngine, small_run, small_spec
from benchmarks.usage import peak_mb
from p2r_bench.judges.headline import DEFAULT_SCORER, headline_scorers
from p2r_bench.judges.select import close_judges, make_judges
from p2r_bench.run.runner import run
from p2r_bench.store.run_folder import RunFolder
from p2r_bench.tasks.hr_bench import HRBench


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure each number of rows in turn."""
    seconds: dict[str, dict[str, float]] = {"open_s": {}, "finish_s": {}, "resume_s": {}}
    per_row = {}
    for count in (int(count) for count in options.rows.split(",")):
        with results_folder() as out:
            await small_run(options.cache_dir, count, out)
            taken = await _taken(options.cache_dir, count, out)
        for name, value in taken.items():
            seconds[name][str(count)] = round(value, 3)
        per_row[str(count)] = round(1000 * sum(taken.values()) / count, 3)
    return {**seconds, "ms_per_row": per_row, "peak_mb": round(peak_mb())}


async def _taken(cache: Path, count: int, out: Path) -> dict[str, float]:
    spec = small_spec(cache, count, out)
    assert spec.data_dir is not None
    task, samples = HRBench(), samples_of(spec.data_dir)
    cells = {sample.id: task.cells(sample) for sample in samples}
    judges = make_judges({}, samples, DEFAULT_SCORER)
    scorers = headline_scorers(samples, DEFAULT_SCORER, judges)
    await close_judges(judges)
    (path,) = (out / "runs").iterdir()

    begun = time.perf_counter()
    folder = RunFolder.open_to_score(path)
    opened = time.perf_counter()
    with folder:
        assert len(folder.done) == count
        folder.finish(cells, scorer=scorers)
    finished = time.perf_counter()
    result = await run(spec, OneEngine(InstantEngine()))
    resumed = time.perf_counter()
    assert result.added == 0 and result.complete
    return {
        "open_s": opened - begun,
        "finish_s": finished - opened,
        "resume_s": resumed - finished,
    }


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--rows", default="1000,30000", help="numbers of rows [1000,30000]")
    data.add_option(parser)
    options = parser.parse_args()
    figures = asyncio.run(measure(options))
    lines = []
    for count, per_row in figures["ms_per_row"].items():
        lines += [
            (f"{figures['open_s'][count]:.2f} s", f"to open a run of {count} rows"),
            (
                f"{figures['finish_s'][count]:.2f} s",
                "to finish it: parquet files, metrics, intervals",
            ),
            (f"{figures['resume_s'][count]:.2f} s", "for the whole command over the finished run"),
            (f"{per_row:.2f} ms", "a row, all three"),
        ]
    lines.append((f"{figures['peak_mb']} MB", "most memory"))
    emit("aggregate", figures, lines, as_json=options.json)


if __name__ == "__main__":
    main()
