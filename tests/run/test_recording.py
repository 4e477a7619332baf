"""Recording of outcomes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from p2r_bench.run.images.prefetch import Work
from p2r_bench.run.progress import Tally
from p2r_bench.run.recording import Recorder
from p2r_bench.run.schedule.pipeline import Outcome
from tests.store.building import make_prediction, make_sample


class SlowFolder:
    """Takes a record at once and answers when the disk has it, which is never."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    async def record(self, row: Any, verdicts: Any) -> bool:
        self.taken.append(row)
        await asyncio.Event().wait()
        raise AssertionError("never written")


def test_a_record_whose_caller_is_cancelled_is_counted_since_it_stays() -> None:
    sample = make_sample()
    folder, tally = SlowFolder(), Tally(total=1)
    resolved: Any = SimpleNamespace(cells={sample.id: ()}, scorer="strict")
    view: Any = SimpleNamespace(update=lambda tally: None)
    recorder = Recorder(folder, resolved, [], view, tally)  # type: ignore[arg-type]
    outcome = Outcome(Work(0, sample), make_prediction(sample), (), 0.1)

    async def cancelled() -> None:
        writing = asyncio.create_task(recorder.record(outcome))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        assert writing.cancelled()

    asyncio.run(cancelled())
    assert len(folder.taken) == tally.done == 1
