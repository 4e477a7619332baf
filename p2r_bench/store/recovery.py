"""Repair of a lost or shortened journal from the parquet files of a finished run. `run.runner` resumes runs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from p2r_bench.errors import UserError
from p2r_bench.store.journal_index import (
    DONE,
    JournalIndex,
    Outcome,
    Row,
    sample_record,
    verdicts_record,
)
from p2r_bench.store.manifest import Manifest
from p2r_bench.store.schema import SAMPLES, VERDICTS
from p2r_bench.store.tables import read_rows

_key = itemgetter("sample_id", "repeat")


def parquet_outcomes(folder: Path) -> Iterator[Outcome]:
    """Yield the rows of a run's samples.parquet with their rows of verdicts.parquet, in the dataset's order.

    Raises:
        UserError: A file is missing, damaged or of a newer version.
    """
    verdicts = groupby(read_rows(folder / "verdicts.parquet", VERDICTS), _key)
    key, rows = next(verdicts, (None, iter(())))
    for sample in read_rows(folder / "samples.parquet", SAMPLES):
        found: list[Row] = []
        if key == _key(sample):
            found = list(rows)
            key, rows = next(verdicts, (None, iter(())))
        yield sample, found


def lost_records(folder: Path, index: JournalIndex, manifest: Manifest | None) -> Iterator[Row]:
    """Yield journal records of the rows that the parquet files hold and the journal lacks.

    The files are compared when the journal is missing or shorter than when the run was finished, and when the
    manifest is missing.

    Raises:
        UserError: Recorded samples are lost: they are neither in the journal nor in the parquet files.
    """
    finished = manifest.finished if manifest else None
    size = index.path.stat().st_size if index.path.exists() else None
    there = (folder / "samples.parquet").exists()
    if size is not None and manifest and (not finished or size >= finished["journal_bytes"]):
        return
    expected = finished.get("samples") if finished else None
    count = 0
    try:
        if finished or there:
            for sample, verdicts in parquet_outcomes(folder):
                count += 1
                yield from _lacking(index, sample, verdicts)
    except UserError as error:
        if size is None or expected is None or len(index.entries) < expected:
            raise _lost(folder, str(error)) from error
    if max(count, len(index.entries)) < (expected or 0):
        raise _lost(folder, f"samples.parquet holds {count} samples and not {expected}")


def _lacking(index: JournalIndex, sample: Row, verdicts: list[Row]) -> Iterator[Row]:
    key = _key(sample)
    entry = index.entries.get(key)
    if entry is None or (entry.status not in DONE and sample["status"] in DONE):
        yield sample_record(sample, verdicts)
    elif lacking := [v for v in verdicts if entry.judged.get(v["scorer"]) is None]:
        yield verdicts_record(key, lacking)


def _lost(folder: Path, reason: str) -> UserError:
    return UserError(
        f"{folder}: recorded samples are lost: journal.jsonl is missing or was cut short, and they are not in "
        f"the parquet files either ({reason}). Restore journal.jsonl, or samples.parquet and "
        "verdicts.parquet, from a copy, or move the folder away to start the run anew."
    )
