"""A run on disk: identity, lock, journal, and the parquet files made from it.

A runner uses it like this::

    with RunFolder.open("results", identity, labels, metrics=task.metrics) as folder:
        missing = [s for s in samples if (s.id, 0) not in folder.done]
        folder.begin(Session(pinned=..., noted=...), allow_mixed=False)    # only when something is missing
        await folder.record(sample_row(...), [verdict_row(...)])          # returns when it is on disk
        rows = folder.finish(expected, scorer="strict")                   # parquet files and metric rows
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from p2r_bench.store.identity import RunIdentity, RunLabels, Session
from p2r_bench.types import Cell, Metric

Key = tuple[str, int]
"""(sample_id, repeat)"""
Row = dict[str, Any]


class RunFolder:
    """A run's folder, open for writing by this process alone.

    Attributes:
        path: `OUT/runs/RUN_ID`.
        run_id: Readable slug and eight hex digits of the identity.
    """

    path: Path
    run_id: str

    @classmethod
    def open(
        cls,
        out_dir: str | Path,
        identity: RunIdentity,
        labels: RunLabels,
        *,
        metrics: Sequence[Metric] = (Metric(),),
    ) -> RunFolder:
        """Open the run with this identity under `out_dir`/runs, or create it.

        A record that a killed process left half written at the end of the journal is cut off.

        Raises:
            UserError: Another process has the run open (its pid is named), or the journal or the
                manifest is damaged or of a newer version.
        """
        raise NotImplementedError

    def begin(self, session: Session, *, allow_mixed: bool = False) -> None:
        """Start adding samples. Call it only when something is missing: a complete run refuses nothing.

        Raises:
            UserError: Samples that are done came from a session with other pinned facts and
                `allow_mixed` is false; the differences are listed.
        """
        raise NotImplementedError

    def note(self, facts: Mapping[str, Any]) -> None:
        """Add facts (accounting, peak memory) to what the current session has noted."""
        raise NotImplementedError

    @property
    def done(self) -> frozenset[Key] | set[Key]:
        """Keys with status "ok" or "not_applicable": never run again. Live: grows with `record`."""
        raise NotImplementedError

    @property
    def errors(self) -> set[Key]:
        """Keys whose last outcome is an error: run again on resume. Live."""
        raise NotImplementedError

    def judged(self, key: Key) -> Mapping[str, tuple[str, str]]:
        """Scorer to (version, params_hash) of the verdicts with status "ok" that a done sample has.

        What a runner's judges would add or replace is judged again from `row(key)`, without a model.
        """
        raise NotImplementedError

    def row(self, key: Key) -> Row:
        """The sample row of a recorded key, read back from the journal.

        Raises:
            KeyError: Nothing is recorded for the key.
        """
        raise NotImplementedError

    async def record(self, sample: Row, verdicts: Sequence[Row]) -> bool:
        """Write one outcome with its verdicts; returns after they are on disk.

        Rows come from `store.rows.sample_row` and `verdict_row`. The first success per key wins: for a
        key that is done already nothing is written and the result is False (a lost replica's sample
        may arrive twice).

        Raises:
            UserError: The disk refused (full, read-only). Nothing recorded before is lost; every
                later call raises the same.
        """
        raise NotImplementedError

    async def record_verdicts(self, key: Key, verdicts: Sequence[Row]) -> None:
        """Add verdicts to a recorded sample; one by a scorer that it already has replaces the old one."""
        raise NotImplementedError

    def finish(self, expected: Mapping[str, Iterable[Cell]] | None, *, scorer: str) -> list[Row]:
        """Write samples, verdicts and metrics parquet from the journal, swap them in, return the metric rows.

        Deterministic: rows are ordered by the dataset's index and repeat, whatever order they came in.
        May be called again, and after an interruption; blocks for seconds at tens of thousands of rows.

        Args:
            expected: Sample id to `task.cells(sample)` for **every** sample of the task, those that
                `--limit` left out as well; None when not known. Decides what is complete.
            scorer: The headline scorer.

        Raises:
            UserError: The disk refused, or a journal line is damaged.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Wait for the journal and release the lock. Safe to call twice."""
        raise NotImplementedError

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
