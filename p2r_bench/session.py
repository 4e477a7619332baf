"""The public interface for runs: open a session, list missing samples, run them, finish.

`evaluate` does this for every mode and task; `Session` and `AsyncSession` do it step by step for one run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

from p2r_bench.errors import UserError
from p2r_bench.run.blocking import EventLoop
from p2r_bench.run.engines import EngineSet, roles_of
from p2r_bench.run.environment import versions
from p2r_bench.run.options import Options
from p2r_bench.run.panel import expanded
from p2r_bench.run.progress import ProgressView, Silent, Tally
from p2r_bench.run.resolve import check, make_mode, profile_of
from p2r_bench.run.result import RunResult
from p2r_bench.run.runner import AsyncSession, run
from p2r_bench.run.sample_set import SampleSet
from p2r_bench.run.schedule.launchers import Launchers
from p2r_bench.run.schedule.seeds import CallSeeds
from p2r_bench.run.settings import DEFAULT_ENGINE, DEFAULT_MODEL, split
from p2r_bench.run.signals import Interrupted, listening
from p2r_bench.run.spec import EngineChoice, RunSpec
from p2r_bench.types import Prediction

T = TypeVar("T")

__all__ = [
    "DEFAULT_ENGINE",
    "DEFAULT_MODEL",
    "AsyncSession",
    "CallSeeds",
    "EngineChoice",
    "Interrupted",
    "Options",
    "ProgressView",
    "RunResult",
    "RunSpec",
    "SampleSet",
    "Session",
    "Silent",
    "Tally",
    "evaluate",
    "make_mode",
    "profile_of",
    "roles_of",
    "run_all",
    "versions",
]


class Session:
    """One run for synchronous code: opened, resumed and finished. Works in a notebook too.

        with Session(RunSpec("Synth-HR", "p2r", limit=40)) as session:
            print(f"{len(session.missing)} of {session.total} samples to do")
            session.run()
            result = session.finish()

    Args:
        spec, samples, progress: See `AsyncSession`.

    Raises:
        UserError: Something the user can put right, from any method; nothing recorded is lost.
        Interrupted: SIGINT or SIGTERM came between samples. While samples run, `run` returns False instead.
    """

    def __init__(
        self,
        spec: RunSpec | Options,
        samples: SampleSet | None = None,
        *,
        progress: ProgressView | None = None,
    ) -> None:
        self._session = AsyncSession(spec, samples, progress=progress)

    @property
    def spec(self) -> RunSpec:
        """The run's spec."""
        return self._session.spec

    @property
    def total(self) -> int:
        """See `AsyncSession.total`."""
        return self._session.total

    @property
    def missing(self) -> list[tuple[str, int]]:
        """See `AsyncSession.missing`."""
        return self._session.missing

    def run(self) -> bool:
        """Run and record the missing samples; return False if a signal stopped the run."""
        return _call(self._loop, self._session.run)

    def finish(self) -> RunResult:
        """Write parquet files, metrics and leaderboard rows. See `AsyncSession.finish`."""
        return _call(self._loop, self._session.finish)

    def prediction(self, sample_id: str, repeat: int = 0) -> Prediction:
        """See `AsyncSession.prediction`."""
        return self._session.prediction(sample_id, repeat)

    def __enter__(self) -> Session:
        self._loop = EventLoop()
        try:
            _call(self._loop, self._session.open)
        except BaseException:
            self._loop.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._loop as loop:
            loop.run(self._session.close)


def evaluate(
    mode: str | Sequence[str] = "p2r",
    tasks: str | Sequence[str] = "Synth-HR",
    model: str = DEFAULT_MODEL,
    *,
    engine: str = DEFAULT_ENGINE,
    engine_args: Mapping[str, Any] | None = None,
    data_dir: str | Path | None = None,
    out: str | Path = "results",
    progress: ProgressView | None = None,
    **options: Any,
) -> list[RunResult]:
    """Evaluate a model: run every mode on every task, like `p2r-bench run`.

    An earlier run is completed; nothing runs twice.

    Args:
        mode: Names of modes, in a list or separated by commas; "panel" stands for all built-in ones.
        tasks: Names of tasks, in a list or separated by commas.
        model: Local folder, hub id, or the bundled model's name.
        engine_args: Arguments of the engine, such as {"dtype": "bfloat16"}.
        data_dir: Folder with the task's data; None for the default folder of `data fetch`.
        out: Folder for runs and the leaderboard.
        options: Further fields of `RunSpec`, such as `limit`, `seed` or `profile`.

    Returns:
        One result per mode and task, in that order.

    Raises:
        UserError: Something the caller can put right, such as an unknown name or option or a value of the wrong type.
        Interrupted: SIGINT or SIGTERM came between samples; its `results` are those of the runs that had ended. While
            samples run, the last result has `interrupted` set instead.
    """
    if not isinstance(engine_args, Mapping | None):
        raise UserError(f"engine_args = {engine_args!r}: must be a dict of names and values")
    args = {name: str(value) for name, value in (engine_args or {}).items()}
    choice = EngineChoice(model, engine, options.pop("revision", None), args)
    specs = [
        RunSpec(task=task, mode=name, choice=choice, data_dir=data_dir, out=out, **options)  # type: ignore[arg-type]
        for name in expanded(_names("mode", mode))
        for task in _names("tasks", tasks)
    ]
    return run_all(specs, progress)


def run_all(
    specs: Sequence[RunSpec],
    progress: ProgressView | None = None,
    ended: Callable[[RunResult], None] | None = None,
    samples: Sequence[SampleSet | None] | None = None,
) -> list[RunResult]:
    """Run specs one after the other; stop after a run that a signal interrupted.

    An engine is started once for consecutive runs that use it, and closed when no later run needs it.

    Args:
        ended: Function called with each result as its run ends.
        samples: For each spec, the samples to use instead of the task's rows, or None.

    Raises:
        UserError: Something the caller can put right.
        Interrupted: A signal came while no sample was running, such as during the loading of a model.
    """
    sets = [None] * len(specs) if samples is None else [*samples]
    pairs = list(zip(specs, sets, strict=True))
    results: list[RunResult] = []
    interrupted = False

    async def work() -> None:
        nonlocal interrupted
        with listening() as stop, stop.starting():
            engines = EngineSet(max(check(spec, one) for spec, one in pairs))
            launchers = Launchers(engines)
            try:
                for index, (spec, one) in enumerate(pairs):
                    await engines.close(
                        keep=[c for s in specs[index:] for c in (s.choice, *s.roles.values())]
                    )
                    result = await run(spec, engines, progress, launchers, one)
                    results.append(result)
                    if ended is not None:
                        ended(result)
                    if result.interrupted or stop.requested:
                        interrupted = not result.interrupted
                        return
            except asyncio.CancelledError:
                if not stop.requested:
                    raise
                interrupted = True
            finally:
                with stop.finishing("closing"):
                    await launchers.close()
                    await engines.close()

    with EventLoop() as loop:
        loop.run(work)
    if interrupted:
        raise Interrupted(results)
    return results


def _call(loop: EventLoop, method: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a method of a session, and raise `Interrupted` when a signal cancelled it."""
    interrupted = False

    async def work() -> T | None:
        nonlocal interrupted
        with listening() as stop:
            try:
                return await method()
            except asyncio.CancelledError:
                if not stop.requested:
                    raise
                interrupted = True
                return None

    result = loop.run(work)
    if interrupted:
        raise Interrupted([])
    return cast(T, result)


def _names(option: str, value: str | Sequence[str]) -> tuple[str, ...]:
    names = split(value)
    if not names or not isinstance(names, tuple):
        raise UserError(f"{option} = {value!r}: must be a name, or a list of at least one")
    return names
