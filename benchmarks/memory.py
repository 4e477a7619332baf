"""Peak memory of a run over 8K images, by number of rows.

    python -m benchmarks.memory [--rows 800,3200] [--engine sleeping|openai] [--json]

Each number of rows is a run in a separate process, with an engine that sleeps like four GPUs, so that the run waits for
images and many are in progress. `--engine openai` sends every image over HTTP to a server in another process
(`benchmarks.chat_server`), whose memory and processor time are not counted. Every image has its own digest. The last
line is one JSON object with peak_mb (of the longest run), peak_mb_by_rows, ratio (longest over shortest), rows_per_s
and cpu_s_per_row.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks import chat_server, data, engines
from benchmarks.output import emit, options_of
from benchmarks.running import TASK, results_folder, samples_of, timed_run
from benchmarks.usage import own_cpu_seconds, peak_mb
from p2r_bench.run.spec import RunSpec

SPEED = 4.0


async def one_run(options: argparse.Namespace, rows: int) -> dict[str, float]:
    """Run in this process, and measure its peak memory."""
    folder = data.large_rows(options.cache_dir, rows, options.resolution)
    choice = engines.choice_of(options)
    async with engines.started(options, samples_of(folder)) as running:
        with results_folder() as out:
            spec = RunSpec(
                TASK,
                choice=choice,
                data_dir=folder,
                out=out,
                limit=rows,
                family="qwen3-vl",  # whose visual tokens the benchmark's server counts
                pixels=options.pixels,
                canaries="off",  # the server does not look at the images
            )
            used = own_cpu_seconds()
            timed = await timed_run(spec, running)
    return {
        "peak_mb": round(peak_mb()),
        "rows_per_s": round(timed.rows_per_s, 3),
        "cpu_s_per_row": round((own_cpu_seconds() - used) / rows, 3),
    }


@contextmanager
def server(options: argparse.Namespace) -> Iterator[None]:
    """Return a context with a server for the `openai` engine, started unless one is named."""
    if options.engine != "openai" or any(a.startswith("base_url=") for a in options.engine_arg):
        yield
        return
    options.model = chat_server.MODEL
    with chat_server.served(options.latency) as url:
        options.engine_arg.append(f"base_url={url}")
        yield


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure each number of rows in a separate process."""
    counts = sorted(int(count) for count in options.rows.split(","))
    peaks, rates, cpu = {}, {}, {}
    for count in counts:
        data.large_rows(options.cache_dir, count, options.resolution)
        command = [sys.executable, "-m", "benchmarks.memory", "--in-this-process", *sys.argv[1:]]
        done = subprocess.run(
            [*command, "--rows", str(count)], check=True, stdout=subprocess.PIPE, text=True
        )
        found = json.loads(done.stdout)
        peaks[str(count)], rates[str(count)] = found["peak_mb"], found["rows_per_s"]
        cpu[str(count)] = found["cpu_s_per_row"]
    few, many = str(counts[0]), str(counts[-1])
    return {
        "resolution": options.resolution,
        "pixels": options.pixels,
        "peak_mb": peaks[many],
        "peak_mb_by_rows": peaks,
        "ratio": round(peaks[many] / peaks[few], 3),
        "rows_per_s": rates[many],
        "cpu_s_per_row": cpu[many],
    }


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--rows", default="800,3200", help="numbers of rows [800,3200]")
    parser.add_argument("--resolution", choices=["4k", "8k"], default="8k")
    parser.add_argument("--pixels", choices=["exact", "fast"], default="exact")
    parser.add_argument(
        "--latency",
        type=float,
        default=chat_server.LATENCY_S,
        help="seconds to an answer of the server for the openai engine",
    )
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    data.add_option(parser)
    engines.add_options(parser)
    parser.set_defaults(speed=SPEED)
    options = parser.parse_args()
    if options.in_this_process:
        with server(options):
            print(json.dumps(asyncio.run(one_run(options, int(options.rows)))))
        return
    figures = measure(options)
    peaks = figures["peak_mb_by_rows"].items()
    lines = [(f"{peak:.0f} MB", f"at most, in a run of {count} rows") for count, peak in peaks]
    lines += [
        (f"{figures['ratio']:.3f}", "times the shorter run's"),
        (f"{figures['rows_per_s']:.2f} rows/s", "in the longest run"),
        (f"{figures['cpu_s_per_row']:.2f} s", "of processor time a row, of this process"),
    ]
    emit("memory", figures, lines, as_json=options.json)


if __name__ == "__main__":
    main()
