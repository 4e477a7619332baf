"""Time of a whole run against its floor: the time of the engine alone, or of the images alone.

    python -m benchmarks.floor [--rows 400] [--engine sleeping|vllm|transformers] [--json]

Rows are in HR-Bench's format at 8K with four rotations an image. A sleeping engine costs this machine nothing, like one
on a GPU: the floor is the larger of two times measured in the same command, the engine's on ready-made requests, and
the images', made by the run's own pool without an engine. An engine on this machine's processor shares the cores with
the images: the floor is the processor seconds of both over the number of cores. The last line is one JSON object with
rows_per_s, floor_ratio (run over floor), engine_s, images_s, run_s and peak_mb.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from typing import Any

from benchmarks import data, engines
from benchmarks.output import emit, options_of
from benchmarks.parts import engine_alone, images_alone, ready_made, ready_rows, requests_of
from benchmarks.running import TASK, results_folder, samples_of, timed_run
from benchmarks.usage import cpu_seconds, peak_mb
from p2r_bench.run.resolve import profile_of
from p2r_bench.run.spec import RunSpec


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure the run, then its parts."""
    folder = data.large_rows(options.cache_dir, options.rows, options.resolution)
    samples = samples_of(folder)[: options.rows]
    choice = engines.choice_of(options)
    with results_folder() as out:
        spec = RunSpec(
            TASK, choice=choice, data_dir=folder, out=out, limit=options.rows, pixels=options.pixels
        )
        async with engines.started(options, samples) as running:
            in_flight = 2 * running.get(choice).capabilities().concurrency
            before = cpu_seconds()
            whole = await timed_run(spec, running)
            whole_cpu = cpu_seconds() - before
    peak = peak_mb()
    rows = await ready_rows(samples)
    asked = await requests_of(rows, whole.texts, profile_of(spec))
    before = cpu_seconds()
    images_s = await images_alone(samples, asked, spec.image_memory, in_flight)
    images_cpu = cpu_seconds() - before
    sleeping = options.engine == "sleeping"
    made = {} if sleeping else ready_made(rows, asked)
    async with engines.started(options, samples) as running:
        before = cpu_seconds()
        engine_s = await engine_alone(running.get(choice), asked, made)
        engine_cpu = cpu_seconds() - before
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    floor = max(engine_s, images_s) if sleeping else (engine_cpu + images_cpu) / cores
    return {
        "engine": options.engine,
        "rows": options.rows,
        "resolution": options.resolution,
        "pixels": options.pixels,
        "rows_per_s": round(whole.rows_per_s, 3),
        "floor_ratio": round(whole.seconds / floor, 3),
        "run_s": round(whole.seconds, 2),
        "engine_s": round(engine_s, 2),
        "images_s": round(images_s, 2),
        "run_cpu_s": round(whole_cpu, 2),
        "engine_cpu_s": round(engine_cpu, 2),
        "images_cpu_s": round(images_cpu, 2),
        "peak_mb": round(peak),
    }


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--resolution", choices=["4k", "8k"], default="8k")
    parser.add_argument("--pixels", choices=["exact", "fast"], default="exact")
    data.add_option(parser)
    engines.add_options(parser)
    options = parser.parse_args()
    figures = asyncio.run(measure(options))
    lines = [
        (f"{figures['run_s']:.1f} s", f"the run: {figures['rows_per_s']:.2f} rows/s"),
        (f"{figures['engine_s']:.1f} s", "the engine alone, fed with ready-made requests"),
        (f"{figures['images_s']:.1f} s", "the images alone"),
        (f"{figures['run_cpu_s']:.1f} s", "of processor time, the run"),
        (f"{figures['engine_cpu_s']:.1f} s", "of processor time, the engine alone"),
        (f"{figures['images_cpu_s']:.1f} s", "of processor time, the images alone"),
        (f"{figures['floor_ratio']:.3f}", "times the floor"),
        (f"{figures['peak_mb']} MB", "most memory of the run"),
    ]
    emit("floor", figures, lines, as_json=options.json)


if __name__ == "__main__":
    main()
