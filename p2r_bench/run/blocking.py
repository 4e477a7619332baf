"""Blocking execution of coroutines, also inside a running event loop as in a notebook."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class EventLoop:
    """One event loop for several blocking calls.

    If the caller's thread already runs a loop, coroutines run in another thread. An interrupt then cancels the
    coroutine, waits until it has freed its resources, and is raised again. A second interrupt does not wait.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def __enter__(self) -> EventLoop:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine and return its result."""
        if not _loop_is_running():
            return self._runner.run(work())
        thread = _WorkThread(self._runner, work)
        thread.start()
        try:
            thread.ended.wait()  # not join(): after an interrupt it considers the thread stopped
        except BaseException:
            thread.cancel()
            thread.ended.wait()
            raise
        thread.join()
        return thread.result()

    def close(self) -> None:
        """Close the loop; safe to call twice."""
        if not _loop_is_running():
            self._runner.close()
            return
        thread = threading.Thread(target=self._runner.close, name="p2r-bench")
        thread.start()
        thread.join()


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _WorkThread(threading.Thread, Generic[T]):
    """Thread that runs one coroutine.

    Attributes:
        ended: Set when the coroutine has ended.
    """

    def __init__(self, runner: asyncio.Runner, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        super().__init__(name="p2r-bench")
        self.ended = threading.Event()
        self._runner = runner
        self._work = work
        self._lock = threading.Lock()
        self._cancelled = False
        self._running: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        self._outcome: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """See `threading.Thread.run`."""
        try:
            self._outcome.append(self._runner.run(self._watched()))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            self._error = error
        finally:
            self.ended.set()

    def result(self) -> T:
        """Return the coroutine's result, or raise its error."""
        if self._error is not None:
            raise self._error
        return self._outcome[0]

    def cancel(self) -> None:
        """Cancel the coroutine, started or not; return at once."""
        with self._lock:
            self._cancelled = True
            if self._running is not None:
                loop, task = self._running
                loop.call_soon_threadsafe(task.cancel)

    async def _watched(self) -> T:
        task = asyncio.current_task()
        assert task is not None
        with self._lock:
            if self._cancelled:
                raise asyncio.CancelledError
            self._running = (asyncio.get_running_loop(), task)
        try:
            return await self._work()
        finally:
            with self._lock:
                self._running = None
