"""SIGINT, SIGTERM and SIGHUP: the first cancels the current work, a second ends the process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2r_bench.run.result import RunResult

EXIT_STATUS = 130
"""Exit status after any of these signals: the shell's own after Ctrl-C."""

_WORDS = {signal.SIGINT: "Interrupted", signal.SIGTERM: "Terminated"}
_HANGUP = "Terminal closed"
if hasattr(signal, "SIGHUP"):
    _WORDS[signal.SIGHUP] = _HANGUP


class Interrupted(KeyboardInterrupt):
    """A signal came while no sample was running. Nothing recorded is lost.

    Attributes:
        results: Results of the runs that had ended.
    """

    def __init__(self, results: Sequence[RunResult]) -> None:
        super().__init__("interrupted")
        self.results = list(results)


class Stopper:
    """Handler of signals: the first one cancels the current work.

    Attributes:
        requested: True once a signal has come.
    """

    def __init__(self, grace_s: float | None = None) -> None:
        self.requested = False
        self._grace_s = grace_s
        self._cancel: Callable[[], None] | None = None
        self._say = "stopping"
        self._in_start = True

    async def finishes(self, work: Coroutine[Any, Any, object]) -> bool:
        """Await work that a signal cancels; return False if a signal cancelled it.

        Raises:
            BaseException: Errors of the work. Cancelling the caller cancels the work.
        """
        if self.requested:
            work.close()
            return False
        task = asyncio.ensure_future(work)
        with self._phase(self._canceller(task), "stopping; finished samples are kept"):
            try:
                await asyncio.wait([task])
            finally:
                if not task.done():
                    task.cancel()
                    await asyncio.wait([task])
        if task.cancelled():
            return False
        task.result()
        return True

    @contextmanager
    def finishing(self, doing: str = "writing the results of this run first") -> Iterator[None]:
        """Return a context in which a signal does not cancel the current work, but prevents any further work."""
        with self._phase(_nothing, doing):
            yield

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Return a context in which a signal cancels the current task at once."""
        task = asyncio.current_task()
        assert task is not None
        with self._phase(self._canceller(task), "stopping", in_start=True):
            if self.requested:
                task.cancel()
            yield

    @contextmanager
    def _phase(
        self, cancel: Callable[[], None], say: str, *, in_start: bool = False
    ) -> Iterator[None]:
        before = (self._cancel, self._say, self._in_start)
        self._cancel, self._say, self._in_start = cancel, say, in_start
        try:
            yield
        finally:
            self._cancel, self._say, self._in_start = before

    @staticmethod
    def _canceller(task: asyncio.Future[Any]) -> Callable[[], None]:
        def cancel() -> None:
            task.get_loop().call_soon_threadsafe(task.cancel)

        return cancel

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.requested:
            if _WORDS[signal.Signals(number)] == _HANGUP:
                return  # it comes from the terminal and again from the shell
            _leave()
        self.requested = True
        _tell(f"{_WORDS[signal.Signals(number)]}: {self._say}. Once more ends the process at once.")
        if self._cancel is None:
            raise KeyboardInterrupt
        if self._in_start and self._grace_s is not None:
            # A thread that loads a model or reads the network cannot be cancelled; ending it loses nothing.
            timer = threading.Timer(self._grace_s, _leave)
            timer.daemon = True
            timer.start()
        self._cancel()


_listening: Stopper | None = None
_before_leaving: list[Callable[[], None]] = []


@contextmanager
def leaving(clean_up: Callable[[], None]) -> Iterator[None]:
    """Return a context in which a signal that ends the process at once calls `clean_up` first."""
    _before_leaving.append(clean_up)
    try:
        yield
    finally:
        _before_leaving.remove(clean_up)


@contextmanager
def listening(grace_s: float | None = None) -> Iterator[Stopper]:
    """Return a context whose stopper handles signals; nested contexts share the outer stopper.

    Outside the main thread no signal is handled.

    Args:
        grace_s: Seconds until a signal inside `starting` ends the process; None: never.
    """
    global _listening
    if threading.current_thread() is not threading.main_thread():
        yield Stopper()
        return
    if _listening is not None:
        with _waking_the_loop():
            yield _listening
        return
    _listening = Stopper(grace_s)
    before = {
        number: signal.signal(number, _listening.handle)
        for number in _WORDS
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN  # `nohup`
    }
    try:
        with _waking_the_loop():
            yield _listening
    finally:
        _listening = None
        for number, handler in before.items():
            signal.signal(number, handler)


_woken: asyncio.AbstractEventLoop | None = None


@contextmanager
def _waking_the_loop() -> Iterator[None]:
    """Return a context in which a signal wakes the running event loop.

    Otherwise a signal just before the loop waits for a thread would be handled when the thread ends.
    """
    global _woken
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        yield
        return
    if loop is _woken:
        yield
        return
    before = _woken
    handlers = {number: signal.getsignal(number) for number in _WORDS}
    heard = [n for n, handler in handlers.items() if _listening and handler == _listening.handle]
    with suppress(NotImplementedError):  # not on Windows
        for number in heard:
            loop.add_signal_handler(
                number, _nothing
            )  # sets the loop's wake-up; the handler goes back
            signal.signal(number, handlers[number])
    _woken = loop
    try:
        yield
    finally:
        _woken = before
        with suppress(NotImplementedError):
            for number in heard:
                loop.remove_signal_handler(number)
                signal.signal(number, handlers[number])


def _nothing() -> None: ...


def _tell(line: str) -> None:
    """Write a line on stderr, bypassing `sys.stderr`, whose write the signal may have interrupted."""
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    with suppress(OSError):  # the terminal may be the one that was closed
        os.write(2, f"{clear}{line}\n".encode())


def _leave() -> None:
    for clean_up in list(_before_leaving):
        with suppress(Exception):
            clean_up()
    if sys.stderr.isatty():
        with suppress(OSError):
            os.write(2, b"\x1b[?25h")  # a progress bar hides the cursor
    os._exit(EXIT_STATUS)
