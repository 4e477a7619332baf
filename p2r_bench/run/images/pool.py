"""Threads for image work, served by priority."""

from __future__ import annotations

import asyncio
import heapq
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class ImagePool:
    """Thread pool for functions: lower priority values first, then in order of submission.

    Unlike an executor it has priorities, and it wakes the event loop once for all results that are ready.
    """

    def __init__(self, workers: int) -> None:
        self._todo: list[tuple[int, int, Callable[[], Any], asyncio.Future[Any]]] = []
        self._order = 0
        self._changed = threading.Condition()
        self._closing = False
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._waking = False
        self._threads = [
            threading.Thread(target=self._work, name=f"p2r-images-{number}", daemon=True)
            for number in range(workers)
        ]
        self._started = False

    def submit(self, work: Callable[[], T], priority: int = 0) -> asyncio.Future[T]:
        """Run a function. Cancelling the future drops the function unless it has begun."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with self._changed:
            if not self._started:
                self._started = True
                for thread in self._threads:
                    thread.start()
            self._order += 1
            heapq.heappush(self._todo, (priority, self._order, work, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Drop all work that has not begun and wait for the rest; safe to call twice."""
        with self._changed:
            self._closing = True
            self._todo.clear()
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._todo and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                _, _, work, future = heapq.heappop(self._todo)
            if future.cancelled():
                continue
            try:
                self._hand_over(future, work(), None)
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
                self._hand_over(future, None, error)
            del work, future  # keep no reference to the last result while idle

    def _hand_over(
        self, future: asyncio.Future[Any], result: Any, error: BaseException | None
    ) -> None:
        self._done.append((future, result, error))
        if not self._waking:
            self._waking = True
            with suppress(RuntimeError):  # nobody waits in a closed loop
                future.get_loop().call_soon_threadsafe(self._resolve)

    def _resolve(self) -> None:
        self._waking = False
        while self._done:
            future, result, error = self._done.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
