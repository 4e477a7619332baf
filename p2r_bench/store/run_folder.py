"""A run on disk: identity, lock, journal, and the parquet files made from it.

A runner uses it like this::

    with RunFolder.open("results", identity, labels, metrics=task.metrics) as folder:
        missing = [s for s in samples if (s.id, 0) not in folder.done]
        folder.begin(Session(pinned=..., noted=...), allow_mixed=False)    # only when something is missing
        await folder.record(sample_row(...), [verdict_row(...)])          # returns when it is on disk
        rows = folder.finish(expected, scorer="strict")                   # parquet files and metric rows
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.stats.metrics import SAMPLE_COLUMNS, VERDICT_COLUMNS, metric_rows
from p2r_bench.store.atomic import replacing
from p2r_bench.store.data_record import DataRecord
from p2r_bench.store.identity import RunIdentity, RunLabels, Session, run_id
from p2r_bench.store.journal import Journal
from p2r_bench.store.journal_index import (
    DONE,
    JournalIndex,
    Key,
    Outcome,
    Row,
    sample_record,
    verdicts_record,
)
from p2r_bench.store.journal_tables import Tables, journal_tables, outcomes_of
from p2r_bench.store.lock import Lock
from p2r_bench.store.manifest import Manifest
from p2r_bench.store.rows import now
from p2r_bench.store.schema import METRICS, SAMPLES, VERDICTS, Table
from p2r_bench.store.tables import TableWriter, write_table
from p2r_bench.types import Cell, Metric

JOURNAL = "journal.jsonl"


class RunFolder:
    """A run's folder, open for writing by this process alone. Made with `open`.

    Attributes:
        path: `OUT/runs/RUN_ID`.
        run_id: Readable slug and eight hex digits of the identity.
        done: Keys (sample_id, repeat) with status "ok" or "not_applicable": never run again. Live.
        errors: Keys whose last outcome is an error: run again on resume. Live.
        manifest: What is in manifest.json.
    """

    def __init__(self, path: Path, manifest: Manifest, index: JournalIndex, lock: Lock) -> None:
        self.path = path
        self.run_id: str = path.name
        self.manifest = manifest
        self.done = index.done
        self.errors = index.errors
        self._index = index
        self._lock = lock
        self._journal = Journal(path / JOURNAL)
        self._session: int | None = None
        self._arriving: set[Key] = set()

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
        path = find_folder(Path(out_dir) / "runs", identity, labels)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{path}: cannot be made: {error.strerror or error}.") from error
        lock = Lock(path / ".lock")
        lock.acquire(f"run {path}")
        try:
            if (path / "manifest.json").exists() or (path / JOURNAL).exists():
                manifest = Manifest.read(path)
                manifest.check_identity(identity)
            else:
                manifest = Manifest.create(path, identity, labels, metrics)
            manifest.metrics = tuple(metrics)
            return cls(path, manifest, JournalIndex.scan(path / JOURNAL), lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def reopen(cls, path: str | Path) -> RunFolder:
        """Open an existing run folder for writing, to judge it again. Errors as with `open`."""
        path = Path(path)
        manifest = Manifest.read(path)
        lock = Lock(path / ".lock")
        lock.acquire(f"run {path}")
        try:
            return cls(path, manifest, JournalIndex.scan(path / JOURNAL), lock)
        except BaseException:
            lock.release()
            raise

    def begin(
        self,
        session: Session,
        *,
        allow_mixed: bool = False,
        expected: Mapping[str, Iterable[Cell]] | None = None,
    ) -> None:
        """Start adding samples. Call it only when something is missing: a complete run refuses nothing.

        Args:
            expected: As in `finish`; lets a run that is still going say how far it is.

        Raises:
            UserError: Samples that are done came from a session with other pinned facts and
                `allow_mixed` is false; the differences are listed.
        """
        self._expect(expected)
        self._session = self.manifest.add_session(
            session, self._contributed(), allow_mixed=allow_mixed
        )

    def note(self, facts: Mapping[str, Any]) -> None:
        """Add facts (accounting, peak memory) to what the current session has noted.

        Raises:
            RuntimeError: `begin` was not called.
        """
        session = self.manifest.sessions[self._current()]
        session["noted"].update(json.loads(json.dumps(dict(facts))))
        self.manifest.write()

    def noted(self, name: str) -> Any:
        """What the current session has noted under a name, or None.

        Raises:
            RuntimeError: `begin` was not called.
        """
        return self.manifest.sessions[self._current()]["noted"].get(name)

    def status(self, key: Key) -> str | None:
        """Status of the last outcome recorded for a key, or None."""
        entry = self._index.entries.get(key)
        return None if entry is None else entry.status

    def judged(self, key: Key) -> Mapping[str, tuple[str, str]]:
        """Scorer to (version, params_hash) of the verdicts with status "ok" that a sample has.

        What a runner's judges would add or replace is judged again from `outcome(key)`, without a model.

        Raises:
            KeyError: Nothing is recorded for the key.
        """
        found = self._index.entries[key].judged
        return {scorer: protocol for scorer, protocol in found.items() if protocol is not None}

    def outcome(self, key: Key) -> Outcome:
        """The sample row and the verdict rows of a recorded key, read back from the journal.

        Raises:
            KeyError: Nothing is recorded for the key.
        """
        return next(self._index.outcomes([key]))

    def outcomes(self) -> Iterator[Outcome]:
        """All sample rows with their verdict rows, in the dataset's order, one in memory at a time."""
        return self._index.outcomes()

    async def record(self, sample: Row, verdicts: Sequence[Row]) -> bool:
        """Write one outcome with its verdicts; returns after they are on disk.

        Rows come from `store.rows.sample_row` and `verdict_row`. The first success per key wins: for a
        key that is done already nothing is written and the result is False (a lost replica's sample
        may arrive twice). Cancelling the caller does not take the record back.

        Raises:
            UserError: The disk refused (full, read-only). Nothing recorded before is lost; every
                later call raises the same.
            RuntimeError: `begin` was not called.
        """
        key = (sample["sample_id"], sample["repeat"])
        if key in self.done or key in self._arriving:
            return False
        row = {**sample, "session": self._current()}
        if row["status"] in DONE:
            self._arriving.add(key)
        try:
            await self._append(sample_record(row, verdicts))
        except (UserError, TypeError):
            self._arriving.discard(key)
            raise
        return True

    async def record_verdicts(self, key: Key, verdicts: Sequence[Row]) -> None:
        """Add verdicts to a recorded sample; one by a scorer that it already has replaces the old one.

        Raises:
            UserError: As `record`.
            KeyError: Nothing is recorded for the key.
        """
        if key not in self._index.entries:
            raise KeyError(key)
        await self._append(verdicts_record(key, verdicts))

    def finish(
        self,
        expected: Mapping[str, Iterable[Cell]] | None = None,
        *,
        scorer: str | Mapping[str, str],
        data: DataRecord | None = None,
    ) -> list[Row]:
        """Write samples, verdicts and metrics parquet from the journal, swap them in, return the metric rows.

        Deterministic: rows are ordered by the dataset's index and repeat, whatever order they came in.
        May be called again, and after an interruption; blocks for seconds at tens of thousands of rows.

        Args:
            expected: Sample id to `task.cells(sample)` for **every** sample of the task, those that
                `--limit` left out as well. Decides what is complete. None: what an earlier call was
                told; without one it is not known and nothing is complete.
            scorer: The headline scorer, or one for each answer form.
            data: What is known of the task's data. None: what an earlier call was told.

        Raises:
            UserError: The disk refused, or a journal line is damaged.
        """
        self._journal.submit([]).result()  # what cancelled callers left behind is on disk now
        self._expect(expected)
        if data is not None:
            self.manifest.data = data
        known = self.manifest.data
        contributed = self._contributed()
        with ExitStack() as files:
            # The journal's size first: what is recorded while we write makes the files out of date.
            size = (self.path / JOURNAL).stat().st_size
            samples = files.enter_context(_writing(self.path, SAMPLES))
            verdicts = files.enter_context(_writing(self.path, VERDICTS))
            rows = metric_rows(
                _written(journal_tables(self._index), samples, verdicts),
                scorer=scorer,
                metrics=self.manifest.metrics,
                expected=self.manifest.expected,
                repeats=self.manifest.repeats,
                facts={**self.manifest.facts(contributed), "created": now()},
                known=known.figures,
                skipped=known.skipped_rows,
            )
        write_table(self.path / "metrics.parquet", METRICS, rows)
        self.manifest.finish(
            journal_bytes=size,
            scorer=scorer,
            complete=all(row["complete"] for row in rows if row["headline"]),
        )
        return rows

    def close(self) -> None:
        """Wait for the journal and release the lock. Safe to call twice.

        The folder is removed when it holds nothing: no session began in it, as after a start that failed.
        """
        self._journal.close()
        if self._session is not None:
            self.manifest.end_session(self._session)
            self._session = None
        if self._empty and self.path.exists():
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()

    @property
    def _empty(self) -> bool:
        return not (
            self.manifest.sessions or self.manifest.content["finished"] or self._index.entries
        )

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _expect(self, expected: Mapping[str, Iterable[Cell]] | None) -> None:
        if expected is not None:
            self.manifest.expected = Counter(cell for cells in expected.values() for cell in cells)

    async def _append(self, record: Row) -> None:
        # Indexed on the journal's thread, so that a cancelled caller's record is known all the same.
        await self._journal.append([record], lambda spans: self._index.add(record, spans[0]))

    def _current(self) -> int:
        if self._session is None:
            raise RuntimeError(f"{self.path}: begin() was not called")
        return self._session

    def _contributed(self) -> set[int]:
        entries = list(self._index.entries.values())  # the journal's thread may be adding
        return {entry.session for entry in entries if entry.status in DONE}


def find_folder(runs: Path, identity: RunIdentity, labels: RunLabels) -> Path:
    """The folder of the run with this identity, whatever it was called when it was made."""
    wanted = runs / run_id(identity, labels)
    if not wanted.exists():
        for path in sorted(runs.glob(f"*-{identity.digest[:8]}")):
            if Manifest.read(path).content["identity_digest"] == identity.digest:
                return path
    return wanted


@contextmanager
def _writing(folder: Path, table: Table) -> Iterator[TableWriter]:
    with (
        replacing(folder / f"{table.name}.parquet") as beside,
        TableWriter(beside, table) as writer,
    ):
        yield writer


def _written(
    tables: Iterable[Tables], samples: TableWriter, verdicts: TableWriter
) -> Iterator[Outcome]:
    """Write the tables, and pass on what the figures need of them."""
    for both in tables:
        samples.write_arrow(both[0])
        verdicts.write_arrow(both[1])
        yield from outcomes_of(both, SAMPLE_COLUMNS, VERDICT_COLUMNS)
