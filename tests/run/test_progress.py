"""Progress display: its lines, and its small cost."""

from __future__ import annotations

from typing import Any

import pytest

from p2r_bench.run import progress
from p2r_bench.run.progress import Bar, Lines, Tally


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_a_tally_counts_errors_and_what_was_judged() -> None:
    tally = Tally(4)
    tally.add(error=False, correct=True)
    tally.add(error=False, correct=False)
    tally.add(error=True, correct=None)
    assert (tally.done, tally.summary) == (3, "accuracy 50.0 %, 1 error")


def test_the_bar_is_drawn_a_few_times_a_second_however_many_rows_there_are(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []

    def update(self: Any, bar: Any, *, completed: int, **fields: Any) -> None:
        shown.append(completed)

    monkeypatch.setattr("rich.progress.Progress.update", update)
    tally, bar = Tally(5000), Bar()
    bar.begin("title", tally)
    for _ in range(5000):
        clock.now += 0.001
        tally.add(error=False, correct=True)
        bar.update(tally)
    bar.end(tally)
    assert 40 <= len(shown) <= 52 and shown[-1] == 5000


def test_lines_come_every_quarter_of_a_minute_and_at_the_end(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    tally, lines = Tally(60), Lines()
    lines.begin("title", tally)
    for _ in range(60):
        clock.now += 1
        tally.add(error=False, correct=True)
        lines.update(tally)
    lines.end(tally)
    written = capsys.readouterr().err.splitlines()
    assert written[0] == "title: 60 samples, 60 to do"
    assert written[1] == "title: 15/60, 1.0 rows/s, 45 s left, accuracy 100.0 %"
    assert len(written) == 1 + 4 + 1


@pytest.mark.parametrize("kind", [Bar, Lines])
def test_a_resumed_run_shows_the_whole_of_it(
    kind: type[Bar] | type[Lines], clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    tally, view = Tally(60, before=40), kind()
    view.begin("title", tally)
    clock.now += 2
    for _ in range(10):
        tally.add(error=False, correct=True)
    view.update(tally)
    view.end(tally)
    written = capsys.readouterr().err
    assert "50/60" in written and "5.0 rows/s" in written
    assert tally.done == 10
