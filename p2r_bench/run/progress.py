"""Progress display of a run: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from p2r_bench.errors import counted
from p2r_bench.terminal import echo, printable

_LINE_EVERY_S = 15.0
_BAR_EVERY_S = 0.1


@dataclass
class Tally:
    """Counts of one session of a run.

    Attributes:
        total: Samples of the whole run, including those of earlier sessions.
        before: Samples that earlier sessions finished.
        done, errors: Samples that this session finished, and the number of errors among them.
        judged, right: Verdicts of the headline scorer in this session, and the right ones among them.
    """

    total: int
    before: int = 0
    done: int = 0
    errors: int = 0
    judged: int = 0
    right: int = 0

    def add(self, *, error: bool, correct: bool | None) -> None:
        """Count one finished sample; `correct` is None where the headline scorer gave no verdict."""
        self.done += 1
        self.errors += error
        if correct is not None:
            self.judged += 1
            self.right += correct

    @property
    def finished(self) -> int:
        """Samples finished in all sessions."""
        return self.before + self.done

    @property
    def summary(self) -> str:
        """Return accuracy and errors, such as "accuracy 81.2 %, 3 errors"."""
        accuracy = (
            f"accuracy {100 * self.right / self.judged:.1f} %" if self.judged else "accuracy –"
        )
        return accuracy + (f", {counted(self.errors, 'error')}" if self.errors else "")


class ProgressView(Protocol):
    """Progress display."""

    def say(self, line: str) -> None:
        """Show a step before the first sample, such as the loading of a model."""

    def begin(self, title: str, tally: Tally) -> None: ...

    def update(self, tally: Tally) -> None: ...

    def end(self, tally: Tally) -> None: ...


class Silent:
    """No display."""

    def say(self, line: str) -> None: ...

    def begin(self, title: str, tally: Tally) -> None: ...

    def update(self, tally: Tally) -> None: ...

    def end(self, tally: Tally) -> None: ...


class Lines:
    """A line on stderr at the start, every 15 seconds, and at the end."""

    def say(self, line: str) -> None:
        _say(line)

    def begin(self, title: str, tally: Tally) -> None:
        self._title, self._begun = title, time.monotonic()
        self._last = self._begun
        before = f", {tally.before} done before" if tally.before else ""
        _say(
            f"{title}: {counted(tally.total, 'sample')}{before}, {tally.total - tally.before} to do"
        )

    def update(self, tally: Tally) -> None:
        if time.monotonic() - self._last >= _LINE_EVERY_S:
            self._last = time.monotonic()
            left = (tally.total - tally.finished) / max(self._rate(tally), 1e-9)
            self._tell(tally, f"{left:.0f} s left, ")

    def end(self, tally: Tally) -> None:
        self._tell(tally)

    def _tell(self, tally: Tally, left: str = "") -> None:
        _say(
            f"{self._title}: {tally.finished}/{tally.total}, {self._rate(tally):.1f} rows/s, "
            f"{left}{tally.summary}"
        )

    def _rate(self, tally: Tally) -> float:
        return tally.done / max(time.monotonic() - self._begun, 1e-9)


def _say(line: str) -> None:
    echo(line, err=True)


class Bar:
    """A progress bar with rows per second, time left, accuracy so far and errors."""

    def say(self, line: str) -> None:
        _say(line)

    def begin(self, title: str, tally: Tally) -> None:
        self._begun = self._last = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.1f} rows/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[summary]}"),
            console=Console(stderr=True),
        )
        self._progress.start()
        self._bar = self._progress.add_task(
            printable(title),
            total=tally.total,
            completed=tally.before,
            rate=0.0,
            summary=tally.summary,
        )

    def update(self, tally: Tally) -> None:
        if time.monotonic() - self._last >= _BAR_EVERY_S:
            self._last = time.monotonic()
            self._show(tally)

    def end(self, tally: Tally) -> None:
        with suppress(OSError):  # the terminal may have been closed
            self._show(tally)
            self._progress.stop()

    def _show(self, tally: Tally) -> None:
        rate = tally.done / max(time.monotonic() - self._begun, 1e-9)
        self._progress.update(self._bar, completed=tally.finished, rate=rate, summary=tally.summary)


def progress_view(quiet: bool = False) -> ProgressView:
    """Return the display for this terminal: a bar, lines if stderr is no terminal, nothing when quiet."""
    if quiet:
        return Silent()
    return Bar() if sys.stderr.isatty() else Lines()
