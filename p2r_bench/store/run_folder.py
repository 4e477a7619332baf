"""A run on disk: identity, lock, journal, and the parquet files made from the journal.

Usage::

    with RunFolder.open("results", identity, labels, metrics=task.metrics) as folder:
        missing = [s for s in samples if (s.id, 0) not in folder.done]
        folder.begin(Session(pinned=..., noted=...), allow_mixed=False)    # only when something is missing
        await folder.record(sample_row(...), [verdict_row(...)])          # on disk when it returns
        rows = folder.finish(expected, scorer="strict")                   # parquet files and metric rows
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

from p2r_bench.atomic import make_folder, remove_temporaries, replacing
from p2r_bench.errors import UserError
from p2r_bench.stats.metrics import metric_rows
from p2r_bench.store.data_record import DataRecord
from p2r_bench.store.identity import RunIdentity, RunLabels, Session, run_id
from p2r_bench.store.journal import Journal, Span
from p2r_bench.store.journal_index import (
    DONE,
    JournalIndex,
    Key,
    Outcome,
    Row,
    sample_record,
    verdicts_record,
)
from p2r_bench.store.lock import Lock
from p2r_bench.store.manifest import FILE as MANIFEST
from p2r_bench.store.manifest import Manifest
from p2r_bench.store.recovery import lost_records
from p2r_bench.store.rows import now
from p2r_bench.store.schema import METRICS, SAMPLES, VERDICTS, Table
from p2r_bench.store.tables import TableWriter, write_table
from p2r_bench.store.values import INT64
from p2r_bench.types import Cell, Metric

JOURNAL = "journal.jsonl"


class RunFolder:
    """A run's folder, open for writing by this process alone. Create it with `open`.

    Attributes:
        path: `OUT/runs/RUN_ID`.
        run_id: Readable slug and eight hex digits of the identity.
        done: Keys (sample_id, repeat) with status "ok" or "not_applicable": never run again. Live.
        errors: Keys whose last outcome is an error: run again on resume. Live.
        manifest: Content of manifest.json.
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

        An unfinished last line of the journal, left by a killed process, is cut off. A missing journal is
        restored from the parquet files, and a missing manifest is made anew.

        Raises:
            UserError: Another process has the run open; the message names its pid. Or the journal or the manifest is
                damaged or of a newer version, recorded samples are lost, or the seed has more than 64 bits.
        """
        if identity.seed not in INT64:
            raise UserError(f"seed {identity.seed} has more than 64 bits. Use a smaller one.")
        path = find_folder(Path(out_dir) / "runs", identity, labels)
        try:
            make_folder(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be created: {error.strerror or error}.") from error
        with _locked(path) as lock:
            manifest = None
            if (path / MANIFEST).exists():
                manifest = Manifest.read(path)
                manifest.check_identity(identity)
            index = _restored_index(path, manifest)
            if manifest is None:
                sessions = {entry.session for entry in index.entries.values()}
                manifest = Manifest.create(
                    path, identity, labels, metrics, lost_sessions=max(sessions, default=-1) + 1
                )
            manifest.metrics = tuple(metrics)
            return cls(path, manifest, index, lock)

    @classmethod
    def open_to_score(cls, path: str | Path) -> RunFolder:
        """Open an existing run folder for writing, to score it again.

        To resume a run, use `open`; `run.runner` finds what is missing.

        Raises:
            UserError: As with `open`, or the folder holds no samples.
        """
        path = Path(path)
        Manifest.read(path)
        with _locked(path) as lock:
            manifest = Manifest.read(path)
            if not (path / JOURNAL).exists() and not (path / "samples.parquet").exists():
                raise UserError(f"{path}: has neither a journal nor samples.parquet.")
            return cls(path, manifest, _restored_index(path, manifest), lock)

    def begin(
        self,
        session: Session,
        *,
        allow_mixed: bool = False,
        expected: Mapping[str, Iterable[Cell]] | None = None,
    ) -> None:
        """Start adding samples. Call it only when samples are missing: a complete run refuses nothing.

        Args:
            expected: As in `finish`; shows the progress of a run that is not finished.

        Raises:
            UserError: Samples that are done came from a session with other pinned facts and
                `allow_mixed` is false; the differences are listed.
        """
        self._expect(expected)
        self._session = self.manifest.add_session(
            session, self._contributed(), allow_mixed=allow_mixed
        )

    def note(self, facts: Mapping[str, Any]) -> None:
        """Add facts (accounting, peak memory) to the notes of the current session.

        Raises:
            RuntimeError: `begin` was not called.
        """
        session = self.manifest.sessions[self._current()]
        session["noted"].update(json.loads(json.dumps(dict(facts))))
        self.manifest.write()

    def noted(self, name: str) -> Any:
        """Return the current session's note with this name, or None.

        Raises:
            RuntimeError: `begin` was not called.
        """
        return self.manifest.sessions[self._current()]["noted"].get(name)

    def status(self, key: Key) -> str | None:
        """Return the status of the last outcome recorded for a key, or None."""
        entry = self._index.entries.get(key)
        return None if entry is None else entry.status

    def judged(self, key: Key) -> Mapping[str, tuple[str, str]]:
        """Return scorer to (version, params_hash) of a sample's verdicts with status "ok".

        Raises:
            KeyError: Nothing is recorded for the key.
        """
        found = self._index.entries[key].judged
        return {scorer: protocol for scorer, protocol in found.items() if protocol is not None}

    def outcome(self, key: Key) -> Outcome:
        """Return the sample row and the verdict rows of a recorded key, read from the journal.

        Raises:
            KeyError: Nothing is recorded for the key.
        """
        for outcome in self._index.outcomes([key]):
            return outcome
        raise KeyError(key)

    def outcomes(self) -> Iterator[Outcome]:
        """Yield all sample rows with their verdict rows, in the dataset's order, one in memory at a time."""
        return self._index.outcomes()

    async def record(self, sample: Row, verdicts: Sequence[Row]) -> bool:
        """Write one outcome with its verdicts; return after they are on disk.

        Rows come from `store.rows.sample_row` and `verdict_row`. The first success per key wins: for a key
        that is done, nothing is written and the result is False (a lost replica's sample may arrive twice).
        Verdicts on an error are not written. Cancelling the caller does not take the record back.

        Raises:
            UserError: The journal cannot be written (disk full, read-only). Nothing recorded before is
                lost; every later call raises the same.
            RuntimeError: `begin` was not called.
        """
        key = (sample["sample_id"], sample["repeat"])
        if key in self.done or key in self._arriving:
            return False
        row = {**sample, "session": self._current()}
        if row["status"] in DONE:
            self._arriving.add(key)
        record = sample_record(row, () if row["status"] == "error" else verdicts)
        try:
            future = self._append(record)
        except (UserError, TypeError):
            self._arriving.discard(key)
            raise
        # Once the record is in the index, or cannot be written.
        future.add_done_callback(lambda _: self._arriving.discard(key))
        await asyncio.wrap_future(future)
        return True

    async def record_verdicts(self, key: Key, verdicts: Sequence[Row]) -> None:
        """Add verdicts to a recorded sample. A verdict replaces an earlier one by the same scorer.

        Raises:
            UserError: As `record`.
            KeyError: Nothing is recorded for the key.
        """
        if key not in self._index.entries:
            raise KeyError(key)
        await asyncio.wrap_future(self._append(verdicts_record(key, verdicts)))

    def finish(
        self,
        expected: Mapping[str, Iterable[Cell]] | None = None,
        *,
        scorer: str | Mapping[str, str],
        data: DataRecord | None = None,
    ) -> list[Row]:
        """Write samples, verdicts and metrics parquet from the journal, and return the metric rows.

        Rows are ordered by the dataset's index and repeat, whatever order they were recorded in. May be called
        again, and after an interruption. Files that are up to date with the journal are kept. Blocks for
        seconds at tens of thousands of rows.

        Args:
            expected: Sample id to `task.cells(sample)` for **every** sample of the task, those that
                `--limit` left out as well. It decides whether a figure is complete. None: the value of an earlier call;
                without one, nothing is complete.
            scorer: The headline scorer, or one for each answer form.
            data: Facts about the task's data. None: the value of an earlier call.

        Raises:
            UserError: A file cannot be written, or a journal line is damaged.
        """
        self._journal.submit([]).result()  # records of cancelled callers are on disk now
        self._expect(expected)
        if data is not None:
            self.manifest.data = data
        known = self.manifest.data
        # Before reading: records that arrive while the files are written make them out of date.
        size = (self.path / JOURNAL).stat().st_size
        count = len(self._index.entries)
        outcomes = self._index.outcomes()
        with ExitStack() as files:
            if not self._parquet_is_current(size):
                samples, verdicts = (
                    files.enter_context(_writing(self.path, table)) for table in (SAMPLES, VERDICTS)
                )
                outcomes = _written(outcomes, samples, verdicts)
            rows = metric_rows(
                outcomes,
                scorer=scorer,
                metrics=self.manifest.metrics,
                expected=self.manifest.expected,
                repeats=self.manifest.repeats,
                facts={**self.manifest.facts(self._contributed()), "created": now()},
                known=known.figures,
                skipped=known.skipped_rows,
            )
        write_table(self.path / "metrics.parquet", METRICS, rows)
        self.manifest.finish(
            journal_bytes=size,
            samples=count,
            scorer=scorer,
            complete=all(row["complete"] for row in rows if row["headline"]),
        )
        return rows

    def _parquet_is_current(self, journal_bytes: int) -> bool:
        finished = self.manifest.finished
        return (
            finished is not None
            and finished["journal_bytes"] == journal_bytes
            and self.manifest.is_intact("samples.parquet", "verdicts.parquet")
        )

    def close(self) -> None:
        """Close the journal and release the lock. Safe to call twice.

        A folder without a record, as after a failed or interrupted start, is removed.
        """
        try:
            self._journal.close()  # after which the index is complete
            if self._session is not None:
                self.manifest.end_session(self._session)
                self._session = None
            if not (self.manifest.finished or self._index.entries):
                shutil.rmtree(self.path, ignore_errors=True)
        finally:
            self._lock.release()

    def remove_if_unused(self) -> None:
        """Remove the folder if no session has begun in it and nothing can have been recorded."""
        if not (self.manifest.sessions or self.manifest.finished or self._index.entries):
            shutil.rmtree(self.path, ignore_errors=True)

    @property
    def empty(self) -> bool:
        """True if nothing is recorded. Waits for records that are being written."""
        self._journal.submit([]).result()
        return not self._index.entries

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

    def _append(self, record: Row) -> Future[list[Span]]:
        future = self._journal.submit([record])
        # Not after an await: the record of a cancelled caller is indexed too.
        future.add_done_callback(partial(_index_record, self._index, record))
        return future

    def _current(self) -> int:
        if self._session is None:
            raise RuntimeError(f"{self.path}: begin() was not called")
        return self._session

    def _contributed(self) -> set[int]:
        entries = list(self._index.entries.values())  # the journal's thread may be adding
        return {entry.session for entry in entries if entry.status in DONE}


def find_folder(runs: Path, identity: RunIdentity, labels: RunLabels) -> Path:
    """Return the folder of the run with this identity, whatever the labels were when it was created."""
    wanted = runs / run_id(identity, labels)
    if not wanted.exists():
        for path in sorted(runs.glob(f"*-{identity.digest[:8]}")):
            named = (path / MANIFEST).exists()
            if not named or Manifest.read(path).content["identity_digest"] == identity.digest:
                return path
    return wanted


@contextmanager
def _locked(path: Path) -> Iterator[Lock]:
    """Lock a run folder and remove leftovers of killed processes. On an error the lock is released."""
    lock = Lock(path / ".lock")
    lock.acquire(f"run {path}")
    try:
        remove_temporaries(path)
        yield lock
    except BaseException:
        lock.release()
        raise


def _restored_index(path: Path, manifest: Manifest | None) -> JournalIndex:
    """Return the journal's index, after adding records that only the parquet files hold."""
    index = JournalIndex.scan(path / JOURNAL)
    lost = lost_records(path, index, manifest)
    if (first := next(lost, None)) is not None:
        with Journal(path / JOURNAL, window=0) as journal:
            for record in chain((first,), lost):
                index.add(record, journal.submit([record]).result()[0])
    return index


def _index_record(index: JournalIndex, record: Row, future: Future[list[Span]]) -> None:
    if future.exception() is None:
        index.add(record, future.result()[0])


@contextmanager
def _writing(folder: Path, table: Table) -> Iterator[TableWriter]:
    with (
        replacing(folder / f"{table.name}.parquet") as temporary,
        TableWriter(temporary, table) as writer,
    ):
        yield writer


def _written(
    outcomes: Iterable[Outcome], samples: TableWriter, verdicts: TableWriter
) -> Iterator[Outcome]:
    """Write outcomes to both files and pass them on."""
    for sample, judged in outcomes:
        samples.write(sample)
        for verdict in judged:
            verdicts.write(verdict)
        yield sample, judged
