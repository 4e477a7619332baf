"""Most memory of a run over 8K images, by number of rows.

    python -m benchmarks.memory [--rows 800,3200] [--json]

Each number of rows is a run in a process of its own, with an engine that sleeps as four GPUs would, so that images are what is
waited for, and many are under way. Every image is a file with a digest of its own. The last line is one JSON object
with peak_mb (of the longest run), peak_mb_by_rows, ratio (longest over shortest) and rows_per_s.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from benchmarks import data, engines
from benchmarks.output import emit, options_of
from benchmarks.running import TASK, results_folder, samples_of, timed_run
from benchmarks.usage import peak_mb
from p2r_bench.run.loop import run_in_loop
from p2r_bench.run.spec import RunSpec

SPEED = 4.0


async def one_run(options: argparse.Namespace, rows: int) -> dict[str, float]:
    """A run in this process, and the most memory that the process has had."""
    folder = data.large_rows(options.cache_dir, rows, options.resolution)
    choice = engines.choice_of(options)
    async with engines.started(options, samples_of(folder)) as running:
        with results_folder() as out:
            spec = RunSpec(
                TASK, choice=choice, data_dir=folder, out=out, limit=rows, pixels=options.pixels
            )
            timed = await timed_run(spec, running)
    return {"peak_mb": round(peak_mb()), "rows_per_s": round(timed.rows_per_s, 3)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Each number of rows in a process of its own."""
    counts = sorted(int(count) for count in options.rows.split(","))
    peaks, rates = {}, {}
    for count in counts:
        data.large_rows(options.cache_dir, count, options.resolution)
        command = [sys.executable, "-m", "benchmarks.memory", "--in-this-process", *sys.argv[1:]]
        done = subprocess.run(
            [*command, "--rows", str(count)], check=True, stdout=subprocess.PIPE, text=True
        )
        found = json.loads(done.stdout)
        peaks[str(count)], rates[str(count)] = found["peak_mb"], found["rows_per_s"]
    few, many = str(counts[0]), str(counts[-1])
    return {
        "resolution": options.resolution,
        "pixels": options.pixels,
        "peak_mb": peaks[many],
        "peak_mb_by_rows": peaks,
        "ratio": round(peaks[many] / peaks[few], 3),
        "rows_per_s": rates[many],
    }


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--rows", default="800,3200", help="numbers of rows [800,3200]")
    parser.add_argument("--resolution", choices=["4k", "8k"], default="8k")
    parser.add_argument("--pixels", choices=["exact", "fast"], default="exact")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    data.add_option(parser)
    engines.add_options(parser)
    parser.set_defaults(speed=SPEED)
    options = parser.parse_args()
    if options.in_this_process:
        print(json.dumps(run_in_loop(one_run(options, int(options.rows)))))
        return
    figures = measure(options)
    peaks = figures["peak_mb_by_rows"].items()
    lines = [(f"{peak:.0f} MB", f"at most, in a run of {count} rows") for count, peak in peaks]
    lines += [
        (f"{figures['ratio']:.3f}", "times the shorter run's"),
        (f"{figures['rows_per_s']:.2f} rows/s", "in the longest run"),
    ]
    emit("memory", figures, lines, as_json=options.json)


if __name__ == "__main__":
    main()
