"""Time and memory of comparing two stored runs.

    python -m benchmarks.comparing [--rows 23609] [--json]

Two runs of this many rows, four to an image, are written as parquet files and compared by `p2r-bench compare` in a process of
its own, start-up included. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from typing import Any

from benchmarks.output import emit, options_of
from benchmarks.running import results_folder
from benchmarks.stored import stored_run


def measured(code: list[str]) -> tuple[float, float, int]:
    """Run a command; return its seconds, its seconds of processor time, and its peak MB."""
    before = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *code], check=True, capture_output=True, text=True
    )
    seconds = time.perf_counter() - before
    cpu, kilobytes = done.stdout.splitlines()[-1].split()
    return seconds, float(cpu), int(kilobytes) // 1024


_MEASURE = """
import resource, sys
from click.testing import CliRunner
from p2r_bench.cli import main
done = CliRunner().invoke(main, sys.argv[1:])
assert done.exit_code == 0, done.output
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument(
        "--rows", type=int, default=23_609, help="rows of each compared run [23609]"
    )
    options = parser.parse_args()
    figures = _figures(options)
    lines = [
        (f"{figures['compare_s']:.2f} s", f"to compare two runs of {options.rows} rows"),
        (f"{figures['compare_cpu_s']:.2f} s", "of processor time"),
        (f"{figures['compare_mb']} MB", "most memory"),
    ]
    emit("comparing", figures, lines, as_json=options.json)


def _figures(options: argparse.Namespace) -> dict[str, Any]:
    with results_folder() as out:
        runs = [
            stored_run(out, options.rows, accuracy, seed)
            for seed, accuracy in enumerate((0.7, 0.72))
        ]
        seconds, cpu, peak = measured(["compare", *map(str, runs), "--out", str(out)])
    return {"compare_s": round(seconds, 3), "compare_cpu_s": round(cpu, 3), "compare_mb": peak}


if __name__ == "__main__":
    main()
