"""Memory and open files during a long run, and how long resuming it takes.

    python -m benchmarks.long_run [--rows 100000] [--mode default] [--json]

The engine answers at once and images are small, so that what grows is what a run keeps of each row. Each step is a process of its
own: the run; the same command when all is done; and the same command after the last percent of the journal was cut off, which has
these rows to run. Memory is what the process holds at every tenth of the rows. The last line is one JSON object with rows,
rows_per_s, memory_mb (by tenth), growth (at the last tenth, over the second), files (open at the second and the last tenth),
resume_s and resume_cut_s (from the start of the process to its end).
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import data
from benchmarks.output import emit, options_of
from benchmarks.running import OneEngine, results_folder
from benchmarks.small import InstantEngine, small_spec
from p2r_bench.run.progress import Silent, Tally
from p2r_bench.run.runner import run

TENTHS = 10
PAGE = os.sysconf("SC_PAGE_SIZE")


class Meter(Silent):
    """Reads memory and open files of this process at every tenth of the rows.

    Attributes:
        memory_mb, files: Readings, the first before the first row.
    """

    def __init__(self) -> None:
        self.memory_mb: list[float] = []
        self.files: list[int] = []

    def begin(self, title: str, tally: Tally) -> None:
        """See `ProgressView.begin`."""
        self._read()

    def update(self, tally: Tally) -> None:
        """See `ProgressView.update`."""
        if tally.finished * TENTHS >= tally.total * len(self.memory_mb):
            self._read()

    def _read(self) -> None:
        resident = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        self.memory_mb.append(round(resident * PAGE / 1e6, 1))
        self.files.append(sum(1 for _ in Path("/proc/self/fd").iterdir()))


def one_run(cache: Path, rows: int, mode: str, out: Path) -> dict[str, Any]:
    """Run in this process."""
    meter = Meter()
    spec = dataclasses.replace(small_spec(cache, rows, out), mode=mode)
    begun = time.perf_counter()
    result = asyncio.run(run(spec, OneEngine(InstantEngine()), meter))
    seconds = time.perf_counter() - begun
    return {
        "rows_per_s": round(result.added / seconds, 1),
        "added": result.added,
        "complete": result.complete,
        "memory_mb": meter.memory_mb,
        "files": meter.files,
    }


def cut(out: Path) -> None:
    """Cut the last percent off the journal, as of a run that was killed before its end."""
    (journal,) = out.glob("runs/*/journal.jsonl")
    os.truncate(journal, journal.stat().st_size * 99 // 100)
    for path in journal.parent.glob("*.parquet"):
        path.unlink()
    manifest = journal.with_name("manifest.json")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "finished": None}))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the run and what follows, each in a process of its own."""
    data.small_rows(options.cache_dir, options.rows)
    command = [sys.executable, "-m", "benchmarks.long_run", "--rows", str(options.rows)]
    command += ["--mode", options.mode, "--cache-dir", str(options.cache_dir)]

    def step(out: Path) -> tuple[dict[str, Any], float]:
        begun = time.perf_counter()
        done = subprocess.run(
            [*command, "--in-this-process", str(out)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        found = json.loads(done.stdout)
        if not found["complete"]:
            raise SystemExit(f"the run in {out} did not complete")
        return found, round(time.perf_counter() - begun, 1)

    with results_folder() as out:
        first, _ = step(out)
        again, resume_s = step(out)
        cut(out)
        rest, resume_cut_s = step(out)
    assert again["added"] == 0 and 0 < rest["added"] < options.rows / 20
    memory, files = first["memory_mb"], first["files"]
    return {
        "rows": options.rows,
        "mode": options.mode,
        "rows_per_s": first["rows_per_s"],
        "memory_mb": memory,
        "growth": round(memory[-1] / memory[2] - 1, 3),
        "files": [files[2], files[-1]],
        "resume_s": resume_s,
        "resume_cut_s": resume_cut_s,
    }


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows [100000]")
    parser.add_argument("--mode", default="default", help="mode [default]")
    parser.add_argument("--in-this-process", type=Path, help=argparse.SUPPRESS)
    data.add_option(parser)
    options = parser.parse_args()
    if options.in_this_process:
        done = one_run(options.cache_dir, options.rows, options.mode, options.in_this_process)
        print(json.dumps(done))
        return
    figures = measure(options)
    lines = [
        (f"{figures['rows_per_s']:.0f} rows/s", f"over {figures['rows']} rows"),
        (f"{figures['memory_mb'][2]:.0f} MB", "held at the second tenth"),
        (f"{figures['memory_mb'][-1]:.0f} MB", "held at the last row"),
        (f"{100 * figures['growth']:.1f} %", "more"),
        (f"{figures['files'][0]} and {figures['files'][1]}", "open files, at the same moments"),
        (f"{figures['resume_s']:.1f} s", "for the same command when all is done"),
        (f"{figures['resume_cut_s']:.1f} s", "when the last percent is to be done"),
    ]
    emit("long_run", figures, lines, as_json=options.json)


if __name__ == "__main__":
    main()
