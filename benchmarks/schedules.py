"""The pipelined schedule against the barrier schedule, on the same rows and answers.

    python -m benchmarks.schedules [--rows 128] [--engine sleeping|vllm|transformers] [--json]

Rows are in HR-Bench's format at 8K with four rotations an image. `barrier` is the published schedule: 256 rows at a
time, all images prepared in one thread, all perceived, all drawn, all reasoned, with prefix and image caches off. The
last line is one JSON object with rows_per_s, rows_per_s_barrier, ratio, equal_texts (share of rows whose texts are the
same) and differences.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path
from typing import Any

from benchmarks import data, engines
from benchmarks.barrier import BarrierLaunchers
from benchmarks.output import emit, options_of
from benchmarks.running import TASK, Timed, results_folder, samples_of, timed_run
from p2r_bench.run.spec import RunSpec

PUBLISHED_MEMORY = 36 << 30
"""Bytes of the decoded 8K images of a batch of 256."""


def barrier_memory() -> int:
    """Return the barrier's bytes for decoded images: all it needs, but at most 45 % of this machine's memory."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(PUBLISHED_MEMORY, int(0.45 * there))


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure both schedules over the same rows."""
    folder = data.large_rows(options.cache_dir, options.rows, options.resolution)
    barrier = await _run(options, folder, barrier=True)
    pipelined = await _run(options, folder, barrier=False)
    different = [
        {"sample_id": sample, "pipelined": texts, "barrier": barrier.texts.get(sample)}
        for sample, texts in pipelined.texts.items()
        if texts != barrier.texts.get(sample)
    ]
    return {
        "engine": options.engine,
        "rows": options.rows,
        "resolution": options.resolution,
        "pixels": options.pixels,
        "barrier_memory": options.barrier_memory,
        "rows_per_s": round(pipelined.rows_per_s, 3),
        "rows_per_s_barrier": round(barrier.rows_per_s, 3),
        "ratio": round(pipelined.rows_per_s / barrier.rows_per_s, 2),
        "equal_texts": round(1 - len(different) / len(pipelined.texts), 4),
        "differences": different,
    }


async def _run(options: argparse.Namespace, folder: Path, *, barrier: bool) -> Timed:
    caching = not barrier
    memory = {} if caching else {"image_memory": options.barrier_memory}
    async with engines.started(options, samples_of(folder), caching=caching) as running:
        with results_folder() as out:
            spec = RunSpec(
                TASK,
                choice=engines.choice_of(options, caching=caching),
                data_dir=folder,
                out=out,
                limit=options.rows,
                pixels=options.pixels,
                **memory,
            )
            return await timed_run(spec, running, BarrierLaunchers(running) if barrier else None)


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--resolution", choices=["4k", "8k"], default="8k")
    parser.add_argument("--pixels", choices=["exact", "fast"], default="exact")
    parser.add_argument(
        "--barrier-memory",
        type=int,
        default=barrier_memory(),
        help="bytes of decoded images that the barrier may keep; beyond it they are decoded again",
    )
    data.add_option(parser)
    engines.add_options(parser)
    options = parser.parse_args()
    figures = asyncio.run(measure(options))
    lines = [
        (f"{figures['rows_per_s']:.2f} rows/s", "pipelined"),
        (f"{figures['rows_per_s_barrier']:.2f} rows/s", "barrier, the published way"),
        (f"{figures['ratio']:.2f} ×", "faster"),
        (f"{100 * figures['equal_texts']:.1f} %", "of the rows with equal texts"),
    ]
    lines += [("differs", row["sample_id"]) for row in figures["differences"]]
    emit("schedules", figures, lines, as_json=options.json)


if __name__ == "__main__":
    main()
