"""Start-up time of the command line: median wall time of whole processes, in seconds.

    python -m benchmarks.start_up [--json]

The last line is one JSON object.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from benchmarks.output import emit, options_of

COMMANDS = (("--help",), ("plugins",), ("profile", "list"), ("leaderboard", "--help"))
PYTHON = "python -c pass"


def seconds(command: list[str], runs: int) -> float:
    """Return the median over `runs` processes, after one that warms the file cache."""
    taken = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    figures = {PYTHON: seconds([sys.executable, "-c", "pass"], options.runs)}
    for command in COMMANDS:
        name = " ".join(("p2r-bench", *command))
        figures[name] = seconds([sys.executable, "-m", "p2r_bench", *command], options.runs)
    lines = [(f"{value:.3f} s", name) for name, value in figures.items()]
    emit("start_up", {"seconds": figures}, lines, as_json=options.json)


if __name__ == "__main__":
    main()
