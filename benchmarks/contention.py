"""Speed of small matrix products beside busy neighbours, by threads of torch and by how the threads wait.

    python -m benchmarks.contention [--seconds 3] [--json]

A model as small as the bundled one multiplies small matrices: its threads wait for each other thousands of times a second. Every
case is a process of its own, alone and beside one busy process for each core but one (at least one). The last line is one JSON
object with steps_per_s and, for each case, alone and beside, and slowdown (alone over beside).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.output import emit, options_of

BUSY = "while True: pass"
WIDTH, ROWS, LAYERS = 256, 64, 16
POLICIES = ("active", "passive")


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def steps_per_s(threads: int, seconds: float) -> float:
    """Passes through a stack of small layers a second, in this process."""
    import torch

    torch.set_num_threads(threads)
    states = torch.randn(ROWS, WIDTH)
    layers = [torch.randn(WIDTH, WIDTH) / WIDTH for _ in range(LAYERS)]
    count, begun = 0, 0.0
    with torch.inference_mode():
        while not begun or time.perf_counter() - begun < seconds:
            for layer in layers:
                states = torch.nn.functional.gelu(states @ layer)
            begun = begun or time.perf_counter()  # the first pass starts the threads
            count += 1
    return count / (time.perf_counter() - begun)


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Busy processes for the length of the block."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measured(threads: int, policy: str, seconds: float) -> float:
    """`steps_per_s` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.contention", "--threads", str(threads)]
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [*command, "--seconds", str(seconds)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "OMP_WAIT_POLICY": policy.upper()},
    )
    return float(done.stdout)


def measure(seconds: float) -> dict[str, Any]:
    """All cases."""
    found = {}
    for threads in sorted({1, cores()}):
        for policy in POLICIES if threads > 1 else POLICIES[1:]:
            alone = measured(threads, policy, seconds)
            with neighbours(max(1, cores() - 1)):
                beside = measured(threads, policy, seconds)
            found[f"{threads} threads, {policy}" if threads > 1 else "1 thread"] = {
                "alone": round(alone, 1),
                "beside": round(beside, 1),
                "slowdown": round(alone / beside, 2),
            }
    return {"steps_per_s": found}


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of each case [3]")
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.threads:
        print(steps_per_s(options.threads, options.seconds))
        return
    figures = measure(options.seconds)
    lines = [
        (f"{case['alone']:.0f} and {case['beside']:.0f}", f"steps/s alone and beside, {name}")
        for name, case in figures["steps_per_s"].items()
    ]
    emit("contention", figures, lines, as_json=options.json)


if __name__ == "__main__":
    main()
