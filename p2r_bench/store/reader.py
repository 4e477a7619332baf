"""Read access to runs, finished or in progress, that never blocks their writer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from p2r_bench.errors import UserError
from p2r_bench.store.journal_index import JournalIndex, Key, Outcome
from p2r_bench.store.manifest import FILE, Manifest
from p2r_bench.store.recovery import parquet_outcomes
from p2r_bench.store.schema import SAMPLES, VERDICTS, Table
from p2r_bench.store.tables import read_columns, read_rows, to_arrow

LATEST = "latest"
_LISTED = 10
_key = itemgetter("sample_id", "repeat")


class RunReader:
    """A run folder, read only.

    Rows come from the parquet files when these are up to date or the journal is missing or cut short, and
    otherwise from the journal, so that a run in progress can be read.

    Attributes:
        path, run_id: The folder and its name.
        manifest: Content of manifest.json.
    """

    def __init__(self, path: Path) -> None:
        """Open the run. Raises UserError when the folder is not a run, or is damaged."""
        self.path = path
        self.run_id: str = path.name
        self.manifest = Manifest.read(path)
        self._index = None if self._parquet_is_current() else JournalIndex.scan(self._journal)

    @property
    def _journal(self) -> Path:
        return self.path / "journal.jsonl"

    def _parquet_is_current(self) -> bool:
        if not self._journal.exists():
            if not (self.path / "samples.parquet").exists():
                raise UserError(f"{self.path}: has neither a journal nor samples.parquet.")
            return True
        finished = self.manifest.finished
        return (
            finished is not None
            and finished["journal_bytes"] >= self._journal.stat().st_size
            and self.manifest.is_intact("samples.parquet", "verdicts.parquet")
        )

    def outcomes(self) -> Iterator[Outcome]:
        """Yield sample rows with their verdict rows, in the dataset's order; few are in memory at a time."""
        return parquet_outcomes(self.path) if self._index is None else self._index.outcomes()

    def columns(self, table: Table, names: Sequence[str]) -> Any:
        """Return columns of the samples or of the verdicts as an Arrow table, in the dataset's order."""
        if self._index is None:
            return read_columns(self.path / f"{table.name}.parquet", table, names)
        rows: list[dict[str, Any]] = []
        for sample, verdicts in self._index.outcomes():
            found = [sample] if table is SAMPLES else verdicts
            rows += ({name: row.get(name) for name in names} for row in found)
        return to_arrow(rows, pa.schema([table.schema.field(name) for name in names]))

    def keys(self) -> list[Key]:
        """Return (sample_id, repeat) of all recorded samples, in the dataset's order."""
        if self._index is not None:
            return self._index.ordered()
        columns = ("sample_id", "repeat")
        return [_key(row) for row in read_rows(self.path / "samples.parquet", SAMPLES, columns)]

    def states(self) -> Counter[str]:
        """Return the number of recorded samples by status; each repeat counts."""
        if self._index is not None:
            return Counter(entry.status for entry in self._index.entries.values())
        rows = read_rows(self.path / "samples.parquet", SAMPLES, ("status",))
        return Counter(row["status"] for row in rows)

    def outcome(self, key: Key) -> Outcome:
        """Return the sample row and the verdict rows of a recorded key.

        Raises:
            KeyError: Nothing is recorded for the key.
        """
        if self._index is not None:
            return next(self._index.outcomes([key]))
        where = [("sample_id", "==", key[0]), ("repeat", "==", key[1])]
        samples = list(read_rows(self.path / "samples.parquet", SAMPLES, where=where))
        if not samples:
            raise KeyError(key)
        return samples[0], list(read_rows(self.path / "verdicts.parquet", VERDICTS, where=where))

    def find(self, sample: str, repeat: int = 0) -> Outcome:
        """Return the outcome of the sample with this id, or of the only one whose id begins with it.

        Raises:
            UserError: No sample matches, or several do; they are listed.
        """
        ids = [sample_id for sample_id, number in self.keys() if number == repeat]
        if sample not in ids:
            fitting = [sample_id for sample_id in ids if sample_id.startswith(sample)]
            if len(fitting) != 1:
                what = f"sample {sample!r} (repeat {repeat}) of run {self.run_id}"
                raise UserError(_choose(what, fitting, ids, "samples"))
            sample = fitting[0]
        return self.outcome((sample, repeat))


def find_run(run: str, out_dir: str | Path) -> RunReader:
    """Return the run at a path, or under `out_dir`/runs by its id, the beginning of its id, or its hash.

    "latest" is the run with the most recent session.

    Raises:
        UserError: No run matches, or several do; they are listed.
    """
    if (Path(run) / FILE).exists():
        return RunReader(Path(run).resolve())
    runs = Path(out_dir) / "runs"
    if run == LATEST:
        return RunReader(_latest(runs))
    ids = sorted(path.parent.name for path in runs.glob(f"*/{FILE}"))
    fitting = [i for i in ids if i == run] or [
        i for i in ids if i.startswith(run) or i.endswith(f"-{run}")
    ]
    if len(fitting) != 1:
        raise UserError(_choose(f"run {run!r} under {runs}", fitting, ids, "runs"))
    return RunReader(runs / fitting[0])


def _latest(runs: Path) -> Path:
    begun = {path.parent: last_begun(path) for path in runs.glob(f"*/{FILE}")}
    if not begun:
        raise UserError(f"{runs}: no run found; name the folder of your runs with --out")
    return max(begun, key=lambda path: (begun[path], path.name))


def last_begun(manifest: Path) -> str:
    """Return the time at which a run's last session began, or else the run was created; "" for a damaged manifest."""
    try:
        content = Manifest.read(manifest.parent).content
    except UserError:
        return ""
    return str(content["sessions"][-1]["started"] if content["sessions"] else content["created"])


def _choose(what: str, fitting: list[str], there: list[str], plural: str) -> str:
    listed = fitting or there
    names = "".join(f"\n  {name}" for name in listed[:_LISTED])
    if len(listed) > _LISTED:
        names += f"\n  and {len(listed) - _LISTED} more"
    if fitting:
        return f"{what}: {len(fitting)} {plural} match; give more of the name:{names}"
    return f"{what}: not found. Existing {plural}:{names or ' none'}"
