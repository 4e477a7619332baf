"""Recording of outcomes, and of facts about each session of a run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from p2r_bench.judges.headline import headline_scorer
from p2r_bench.redaction import redacted_arguments
from p2r_bench.run import environment
from p2r_bench.run.accounting import Ledger, judge_seconds
from p2r_bench.run.progress import ProgressView, Tally
from p2r_bench.run.resolve import Resolved
from p2r_bench.run.schedule.launcher import EngineFacts, Launcher
from p2r_bench.run.schedule.pipeline import Outcome
from p2r_bench.run.served import Identified
from p2r_bench.run.spec import EngineChoice
from p2r_bench.store.identity import Session
from p2r_bench.store.rows import now, sample_row, verdict_row
from p2r_bench.store.run_folder import RunFolder
from p2r_bench.types import Judge


class Recorder:
    """Writes outcomes to a run folder and counts them.

    Args:
        tally: Counts shown to the user; updated here.
    """

    def __init__(
        self,
        folder: RunFolder,
        resolved: Resolved,
        judges: Sequence[Judge],
        view: ProgressView,
        tally: Tally,
    ) -> None:
        self._folder = folder
        self._resolved = resolved
        self._judges = judges
        self._view = view
        self._tally = tally
        self._ledger = Ledger()
        self._begun = time.perf_counter()

    async def record(self, outcome: Outcome) -> None:
        """Write an outcome to disk."""
        work, sample, created = outcome.work, outcome.work.sample, now()
        row = sample_row(
            sample,
            outcome.prediction,
            index=work.index,
            repeat=work.repeat,
            cells=self._resolved.cells[sample.id],
            judge_seconds=judge_seconds(outcome.verdicts),
            total_seconds=outcome.seconds,
            created=created,
        )
        verdicts = [
            verdict_row(v, index=work.index, repeat=work.repeat, created=created)
            for v in outcome.verdicts
        ]
        try:
            if not await self._folder.record(row, verdicts):
                return  # a lost replica's sample may come twice
        except asyncio.CancelledError:
            self._count(outcome, row)  # cancelling does not take the record back
            raise
        self._count(outcome, row)

    def _count(self, outcome: Outcome, row: Mapping[str, Any]) -> None:
        sample = outcome.work.sample
        headline = headline_scorer(sample, self._resolved.scorer, self._judges)
        correct = next((v.correct for v in outcome.verdicts if v.scorer == headline), None)
        self._ledger.add(outcome)
        self._tally.add(error=row["status"] == "error", correct=correct)
        self._view.update(self._tally)

    def close(self, launcher: Launcher) -> None:
        """Write the session's accounting to the manifest."""
        seconds = time.perf_counter() - self._begun
        self._folder.note({"accounting": self._ledger.summary(seconds, launcher.accounting())})


def begin(
    folder: RunFolder,
    resolved: Resolved,
    facts: EngineFacts,
    identified: Identified,
    canaries: Mapping[str, Any],
) -> None:
    """Record in the manifest that a session with these engines begins.

    Raises:
        UserError: An earlier session had other engines, versions or hardware, and `allow_mixed` is false.
    """
    known = {
        role: {**fact, "fingerprint": identified.known[role]} if role in identified.known else fact
        for role, fact in facts.items()
    }
    spec = resolved.spec
    session = session_of(known, resolved.choices)
    folder.begin(session, allow_mixed=spec.allow_mixed, expected=resolved.cells)
    prints = {role: one.record() for role, one in identified.prints.items()}
    folder.note({"fingerprints": prints, "canaries": canaries})


def session_of(engines: EngineFacts, choices: Mapping[str, EngineChoice]) -> Session:
    """Return the facts that a run records of a session with these engines."""
    return Session(
        pinned={
            "engines": engines,
            "versions": environment.versions(),
            "hardware": environment.hardware(),
        },
        noted={
            "command": environment.command(),
            "git": environment.git_state(),
            "engine_args": {role: redacted_arguments(c.args) for role, c in choices.items()},
        },
        engines={role: choice.engine for role, choice in choices.items()},
    )
