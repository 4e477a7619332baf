"""Index of a journal: the position of every sample's latest outcome."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any, BinaryIO

from p2r_bench.errors import UserError
from p2r_bench.store.journal import Span, parse_record, read_journal

Key = tuple[str, int]
"""(sample_id, repeat)"""
Row = dict[str, Any]
Outcome = tuple[Row, list[Row]]
"""A sample row and its verdict rows, ordered by scorer."""
Protocols = Mapping[str, tuple[str, str] | None]
"""Scorer to (version, params_hash) of its verdict, or to None for a verdict with status "error"."""

DONE = frozenset(("ok", "not_applicable"))


def sample_record(sample: Row, verdicts: Sequence[Row]) -> Row:
    """Return the journal record of an outcome. It replaces the key's earlier record and verdicts."""
    return {"kind": "sample", "sample": sample, "verdicts": list(verdicts)}


def verdicts_record(key: Key, verdicts: Sequence[Row]) -> Row:
    """Return the journal record of verdicts added to a recorded sample; per scorer they replace earlier ones."""
    return {
        "kind": "verdicts",
        "sample_id": key[0],
        "repeat": key[1],
        "verdicts": list(verdicts),
    }


def protocols_of(verdicts: Iterable[Row]) -> dict[str, tuple[str, str] | None]:
    """Return the protocols of verdict rows."""
    return {
        v["scorer"]: (v["version"], v["params_hash"]) if v["status"] == "ok" else None
        for v in verdicts
    }


@dataclass(slots=True)
class Entry:
    """Facts about a key, without its row.

    Attributes:
        index, status, session: As in the sample row.
        spans: The sample record, then the records of verdicts added later.
        judged: Protocols of the verdicts. The mapping is shared with other entries, so replace it instead of changing
            it.
    """

    index: int
    status: str
    session: int
    spans: tuple[Span, ...]
    judged: Protocols


class JournalIndex:
    """Keys to entries. Rows stay on disk: a sample takes a few hundred bytes of memory.

    Attributes:
        entries: In the order in which keys were first recorded.
        done, errors: Keys by status.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[Key, Entry] = {}
        self.done: set[Key] = set()
        self.errors: set[Key] = set()
        self._protocols: dict[tuple[Any, ...], Protocols] = {}

    @classmethod
    def scan(cls, path: Path) -> JournalIndex:
        """Index a journal; a missing one is empty.

        Raises:
            UserError: A line is damaged; file and line are named.
        """
        index = cls(path)
        if path.exists():
            for number, (span, record) in enumerate(read_journal(path), start=1):
                try:
                    index.add(record, span)
                except (KeyError, TypeError) as error:
                    raise UserError(
                        f"{path}, line {number}: a journal record without {error}. Delete that line to "
                        "run its sample again, or open the run with the version that wrote it."
                    ) from error
        return index

    def add(self, record: Mapping[str, Any], span: Span) -> None:
        """Index one record."""
        judged = protocols_of(record["verdicts"])
        if record["kind"] == "sample":
            row = record["sample"]
            key = (row["sample_id"], row["repeat"])
            status = intern(row["status"])
            self.entries[key] = Entry(
                row["index"], status, row["session"], (span,), self._shared(judged)
            )
            done = status in DONE
            (self.done if done else self.errors).add(key)
            (self.errors if done else self.done).discard(key)
        else:
            entry = self.entries[record["sample_id"], record["repeat"]]
            entry.judged = self._shared({**entry.judged, **judged})
            entry.spans += (span,)

    def ordered(self) -> list[Key]:
        """Return the keys by position in the dataset, then id and repeat: the order of the parquet files."""
        return sorted(self.entries, key=lambda key: (self.entries[key].index, *key))

    def outcomes(self, keys: Iterable[Key] | None = None) -> Iterator[Outcome]:
        """Yield the rows of the keys (default: all, ordered), read one at a time.

        Raises:
            KeyError: Nothing is recorded for a key.
            UserError: A line is damaged.
        """
        entries = [self.entries[key] for key in (self.ordered() if keys is None else keys)]
        if not entries:
            return
        with self.path.open("rb") as file:
            for entry in entries:
                sample, *later = (self._read(file, span) for span in entry.spans)
                verdicts = {
                    v["scorer"]: v for record in (sample, *later) for v in record["verdicts"]
                }
                yield sample["sample"], [verdicts[scorer] for scorer in sorted(verdicts)]

    def _read(self, file: BinaryIO, span: Span) -> Row:
        file.seek(span[0])
        return parse_record(file.read(span[1]), f"{self.path}, byte {span[0]}")

    def _shared(self, protocols: Protocols) -> Protocols:
        return self._protocols.setdefault(tuple(protocols.items()), protocols)
