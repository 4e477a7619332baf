"""The Python interface: `p2r_bench.evaluate(...)`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.launchers import Launchers
from p2r_bench.run.loop import run_in_loop
from p2r_bench.run.options import split
from p2r_bench.run.progress import ProgressView, Silent
from p2r_bench.run.resolve import check
from p2r_bench.run.runner import RunResult, run
from p2r_bench.run.signals import Interrupted, listening
from p2r_bench.run.spec import DEFAULT_ENGINE, DEFAULT_MODEL, EngineChoice, RunSpec


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
    """Evaluate a model: every mode on every task, as `p2r-bench run` does.

    A run that was begun before is completed; nothing runs twice.

    Args:
        mode: Names of modes, in a list or separated by commas.
        tasks: Names of tasks, likewise.
        model: Local folder, hub id, or the bundled model's name.
        engine_args: Arguments of the engine, such as {"dtype": "bfloat16"}.
        data_dir: Folder with the task's data; None for the place where `data fetch` puts it.
        out: Where runs and the leaderboard go.
        options: Further fields of `RunSpec`, such as `limit`, `seed` or `profile`.

    Returns:
        One result per mode and task, in that order.

    Raises:
        UserError: Something the caller can put right: an unknown name or option, a value of the wrong type, or what a
            run refuses.
        Interrupted: Ctrl-C or SIGTERM came between samples; its `results` are those of the runs that had ended. While
            samples run, the last result has `interrupted` set instead.
    """
    if not isinstance(engine_args, Mapping | None):
        raise UserError(f"engine_args = {engine_args!r}: must be a dict of names and values")
    args = {name: str(value) for name, value in (engine_args or {}).items()}
    choice = EngineChoice(model, engine, options.pop("revision", None), args)
    specs = [
        RunSpec(task=task, mode=name, choice=choice, data_dir=data_dir, out=out, **options)  # type: ignore[arg-type]
        for name in _names("mode", mode)
        for task in _names("tasks", tasks)
    ]
    return run_all(specs, progress)


def run_all(
    specs: Sequence[RunSpec],
    view: ProgressView | None = None,
    ended: Callable[[RunResult], None] | None = None,
) -> list[RunResult]:
    """Runs one after the other; stops after a run that a signal interrupted.

    An engine is started once for all runs that follow each other with it, and closed when no later run
    needs it.

    Args:
        ended: Called with each result as its run ends.

    Raises:
        UserError: Something the caller can put right.
        Interrupted: A signal came between samples: while a model was loaded, or at the end of a run.
    """
    results: list[RunResult] = []
    interrupted = False

    async def work() -> None:
        nonlocal interrupted
        with listening() as stop, stop.starting():
            engines = EngineSet(max(map(check, specs)))
            launchers = Launchers(engines)
            try:
                for index, spec in enumerate(specs):
                    await engines.close(
                        keep=[c for s in specs[index:] for c in (s.choice, *s.roles.values())]
                    )
                    result = await run(spec, engines, view or Silent(), launchers)
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

    _run_to_end(work)
    if interrupted:
        raise Interrupted(results)
    return results


def _names(option: str, value: str | Sequence[str]) -> tuple[str, ...]:
    names = split(value)
    if not names or not isinstance(names, tuple):
        raise UserError(f"{option} = {value!r}: must be a name, or a list of at least one")
    return names


def _run_to_end(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """`run_in_loop`, also where an event loop is running already, as in a notebook.

    An interrupt of the waiting thread cancels the work, waits until it has freed what it held, and is raised again;
    a second one does not wait.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        run_in_loop(work())
        return
    thread = _WorkThread(work)
    thread.start()
    try:
        thread.ended.wait()  # not join(): once interrupted, it takes the thread for stopped
    except BaseException:
        thread.cancel()
        thread.ended.wait()
        raise
    thread.join()
    if thread.error is not None:
        raise thread.error


class _WorkThread(threading.Thread):
    """Runs a coroutine in an event loop of its own.

    Attributes:
        error: What the coroutine raised, or None.
        ended: Set when nothing of it runs any more.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        super().__init__(name="p2r-bench")
        self.error: BaseException | None = None
        self.ended = threading.Event()
        self._work = work
        self._lock = threading.Lock()
        self._cancelled = False
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    def run(self) -> None:
        """See `threading.Thread.run`."""
        try:
            run_in_loop(self._watched())
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            self.error = error
        finally:
            self.ended.set()

    def cancel(self) -> None:
        """Cancel the coroutine, started or not; returns at once."""
        with self._lock:
            self._cancelled = True
            if self._running is not None:
                loop, task = self._running
                loop.call_soon_threadsafe(task.cancel)

    async def _watched(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        with self._lock:
            if self._cancelled:
                return
            self._running = (asyncio.get_running_loop(), task)
        try:
            await self._work()
        finally:
            with self._lock:
                self._running = None
