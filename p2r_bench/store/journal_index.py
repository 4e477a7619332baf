"""Where in the journal the last word on every sample is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from p2r_bench.errors import UserError
from p2r_bench.store.journal import Span, parse_record, read_journal

Key = tuple[str, int]
"""(sample_id, repeat)"""
Row = dict[str, Any]
Outcome = tuple[Row, list[Row]]
"""A sample row and its verdict rows, ordered by scorer."""

DONE = frozenset(("ok", "not_applicable"))


def sample_record(sample: Row, verdicts: Sequence[Row]) -> Row:
    """The journal record of one outcome. It replaces an earlier one of the same key, verdicts included."""
    return {"kind": "sample", "sample": sample, "verdicts": list(verdicts)}


def verdicts_record(key: Key, verdicts: Sequence[Row]) -> Row:
    """The journal record of verdicts added to a recorded sample; per scorer they replace earlier ones."""
    return {
        "kind": "verdicts",
        "sample_id": key[0],
        "repeat": key[1],
        "verdicts": list(verdicts),
    }


@dataclass(slots=True)
class Entry:
    """What is known of a key without reading its row.

    Attributes:
        span: Place of the sample record; `later`: places of the verdicts added afterwards.
        judged: Scorer to (version, params_hash) of its verdict, or None for one with status "error".
    """

    index: int
    status: str
    session: int
    span: Span
    later: list[Span] = field(default_factory=list)
    judged: dict[str, tuple[str, str] | None] = field(default_factory=dict)

    def add_verdicts(self, verdicts: Iterable[Row]) -> None:
        for verdict in verdicts:
            self.judged[verdict["scorer"]] = (
                (verdict["version"], verdict["params_hash"]) if verdict["status"] == "ok" else None
            )


class JournalIndex:
    """Keys to entries: a few hundred bytes a sample, so that rows stay on disk.

    Attributes:
        entries: In the order in which keys were first recorded.
        done, errors: Keys by status.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[Key, Entry] = {}
        self.done: set[Key] = set()
        self.errors: set[Key] = set()

    @classmethod
    def scan(cls, path: Path) -> JournalIndex:
        """Index a journal; an absent one is empty.

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
        """Take a record into account."""
        if record["kind"] == "sample":
            row = record["sample"]
            key = (row["sample_id"], row["repeat"])
            entry = Entry(row["index"], row["status"], row["session"], span)
            entry.add_verdicts(record["verdicts"])
            self.entries[key] = entry
            done = entry.status in DONE
            (self.done if done else self.errors).add(key)
            (self.errors if done else self.done).discard(key)
        else:
            entry = self.entries[record["sample_id"], record["repeat"]]
            entry.add_verdicts(record["verdicts"])
            entry.later.append(span)

    def ordered(self) -> list[Key]:
        """Keys by position in the dataset, then id and repeat: the order of the parquet files."""
        return sorted(self.entries, key=lambda key: (self.entries[key].index, *key))

    def outcomes(self, keys: Iterable[Key] | None = None) -> Iterator[Outcome]:
        """Rows of the keys (default: all, ordered), read one at a time.

        Raises:
            KeyError: Nothing is recorded for a key.
            UserError: A line is damaged.
        """
        wanted = self.ordered() if keys is None else keys
        if not self.entries:
            return
        with self.path.open("rb") as file:
            for key in wanted:
                entry = self.entries[key]
                record = self._read(file, entry.span)
                verdicts = {v["scorer"]: v for v in record["verdicts"]}
                for span in entry.later:
                    verdicts.update((v["scorer"], v) for v in self._read(file, span)["verdicts"])
                yield record["sample"], [verdicts[scorer] for scorer in sorted(verdicts)]

    def _read(self, file: BinaryIO, span: Span) -> Row:
        file.seek(span[0])
        return parse_record(file.read(span[1]), f"{self.path}, byte {span[0]}")
