"""Overhead of the pipeline: small images and an engine that answers at once, by number of rows.

    python -m benchmarks.pipeline [--rows 1000,10000] [--json]

Every row is a p2r sample: two requests, evidence, verdicts of all scorers, and a record on disk. The last line is one
JSON object with rows_per_s (of the longer run), rows_per_s_by_rows, ratio (longer over shorter) and peak_mb.
`rows_per_s` counts from the start of the first row until the last is on disk; `whole_rows_per_s_by_rows` includes
reading the table, parquet files and metrics.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from benchmarks import data
from benchmarks.output import emit, options_of
from benchmarks.running import results_folder
from benchmarks.small import small_run, working_rows_per_s
from benchmarks.usage import peak_mb

WARM_UP_ROWS = 200


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure each number of rows, and return the best of the repeats."""
    counts = [int(count) for count in options.rows.split(",")]
    working: dict[str, float] = {}
    whole: dict[str, float] = {}
    with results_folder() as out:
        await small_run(options.cache_dir, WARM_UP_ROWS, out / "warm-up")
    for _ in range(options.repeats):
        for count in counts:
            with results_folder() as out:
                timed = await small_run(options.cache_dir, count, out)
                key, rate = str(count), working_rows_per_s(timed)
            working[key] = max(working.get(key, 0), round(rate, 1))
            whole[key] = max(whole.get(key, 0), round(timed.rows_per_s, 1))
    few, many = str(min(counts)), str(max(counts))
    return {
        "rows_per_s": working[many],
        "rows_per_s_by_rows": working,
        "whole_rows_per_s_by_rows": whole,
        "ratio": round(working[many] / working[few], 3),
        "peak_mb": round(peak_mb()),
    }


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--rows", default="1000,10000", help="numbers of rows [1000,10000]")
    parser.add_argument("--repeats", type=int, default=2, help="the best of so many counts [2]")
    data.add_option(parser)
    options = parser.parse_args()
    figures = asyncio.run(measure(options))
    rates = figures["rows_per_s_by_rows"].items()
    lines = [(f"{rate:.0f} rows/s", f"in a run of {count} rows") for count, rate in rates]
    lines += [
        (f"{figures['ratio']:.2f}", "times the shorter run's rate"),
        (f"{figures['peak_mb']} MB", "most memory"),
    ]
    emit("pipeline", figures, lines, as_json=options.json)


if __name__ == "__main__":
    main()
