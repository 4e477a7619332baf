"""Engines for benchmarks."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

from benchmarks.answers import Answers
from benchmarks.running import SLEEPING, OneEngine, results_folder, timed_run
from benchmarks.sleeping_engine import SleepingEngine
from benchmarks.small import small_spec
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.spec import EngineChoice
from p2r_bench.types import Sample

MAX_IMAGES = 4
WARM_UP_ROWS = 8
UNCACHED = {"vllm": {"prefix_caching": "false", "image_cache_gb": "0"}}
"""Arguments that disable the caches that the published evaluation disables."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the engine."""
    parser.add_argument(
        "--engine",
        default="sleeping",
        help="sleeping (the default), or one that p2r-bench knows, such as vllm or transformers",
    )
    parser.add_argument("--model", default="p2r-tiny", help="model of a real engine [p2r-tiny]")
    parser.add_argument(
        "--engine-arg", action="append", default=[], metavar="K=V", help="of a real engine"
    )
    parser.add_argument(
        "--speed", type=float, default=1.0, help="how many GPUs the sleeping engine stands for [1]"
    )


def choice_of(options: argparse.Namespace, *, caching: bool = True) -> EngineChoice:
    """Return the chosen engine; without `caching` the caches are off that the published evaluation disables."""
    if options.engine == "sleeping":
        return SLEEPING
    args = dict(pair.split("=", 1) for pair in options.engine_arg)
    if not caching:
        args |= UNCACHED.get(options.engine, {})
    return EngineChoice(options.model, options.engine, args=args)


@asynccontextmanager
async def started(
    options: argparse.Namespace, samples: Iterable[Sample], *, caching: bool = True
) -> AsyncIterator[EngineSet]:
    """Return engines with the chosen one running; a real one is warmed up with a few small rows."""
    if options.engine == "sleeping":
        answers = Answers(samples)
        engines: EngineSet = OneEngine(
            SleepingEngine(answers, prefix_caching=caching, speed=options.speed)
        )
    else:
        engines = EngineSet(MAX_IMAGES)
    engine = engines.get(choice_of(options, caching=caching))
    try:
        await engines.start([engine])
        if options.engine != "sleeping":
            await _warm_up(options, engines, caching=caching)
        yield engines
    finally:
        await engine.close()


async def _warm_up(options: argparse.Namespace, engines: EngineSet, *, caching: bool) -> None:
    """Run the first requests, at which an engine does its one-time work."""
    choice = choice_of(options, caching=caching)
    with results_folder() as out:
        spec = replace(
            small_spec(options.cache_dir, WARM_UP_ROWS, out), choice=choice, profile=None
        )
        await timed_run(spec, engines)
