"""How far a run is, for people: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_EVERY_S = 15.0
_BAR_EVERY_S = 0.1


@dataclass
class Tally:
    """Counts of one session of a run.

    Attributes:
        total: Samples this session has to do.
        done, errors: Finished, and how many of those are errors.
        judged, right: Verdicts of the headline scorer, and the right ones among them.
    """

    total: int
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
    def summary(self) -> str:
        """ "accuracy 81.2 %, 3 errors" """
        accuracy = (
            f"accuracy {100 * self.right / self.judged:.1f} %" if self.judged else "accuracy –"
        )
        return accuracy + (f", {self.errors} errors" if self.errors else "")


class ProgressView(Protocol):
    """Shows a tally."""

    def begin(self, title: str, tally: Tally) -> None: ...

    def update(self, tally: Tally) -> None: ...

    def end(self, tally: Tally) -> None: ...


class Silent:
    """Shows nothing."""

    def begin(self, title: str, tally: Tally) -> None: ...

    def update(self, tally: Tally) -> None: ...

    def end(self, tally: Tally) -> None: ...


class Lines:
    """A line on stderr at the start, every 15 seconds, and at the end."""

    def begin(self, title: str, tally: Tally) -> None:
        self._title, self._begun = title, time.monotonic()
        self._last = self._begun
        self._say(f"{title}: {tally.total} samples to do")

    def update(self, tally: Tally) -> None:
        if time.monotonic() - self._last >= _LINE_EVERY_S:
            self._last = time.monotonic()
            left = (tally.total - tally.done) / max(self._rate(tally), 1e-9)
            self._say(
                f"{self._title}: {tally.done}/{tally.total}, {self._rate(tally):.1f} rows/s, "
                f"{left:.0f} s left, {tally.summary}"
            )

    def end(self, tally: Tally) -> None:
        self._say(
            f"{self._title}: {tally.done}/{tally.total}, {self._rate(tally):.1f} rows/s, {tally.summary}"
        )

    def _rate(self, tally: Tally) -> float:
        return tally.done / max(time.monotonic() - self._begun, 1e-9)

    @staticmethod
    def _say(line: str) -> None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


class Bar:
    """A progress bar with rows per second, time left, accuracy so far and errors."""

    def begin(self, title: str, tally: Tally) -> None:
        self._begun = self._last = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.1f} rows/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[summary]}"),
            console=Console(stderr=True),
        )
        self._progress.start()
        self._bar = self._progress.add_task(
            title, total=tally.total, rate=0.0, summary=tally.summary
        )

    def update(self, tally: Tally) -> None:
        if time.monotonic() - self._last >= _BAR_EVERY_S:
            self._last = time.monotonic()
            self._show(tally)

    def end(self, tally: Tally) -> None:
        self._show(tally)
        self._progress.stop()

    def _show(self, tally: Tally) -> None:
        rate = tally.done / max(time.monotonic() - self._begun, 1e-9)
        self._progress.update(self._bar, completed=tally.done, rate=rate, summary=tally.summary)


def progress_view(quiet: bool = False) -> ProgressView:
    """A bar on a terminal, lines elsewhere, nothing when quiet."""
    if quiet:
        return Silent()
    return Bar() if sys.stderr.isatty() else Lines()
