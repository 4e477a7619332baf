"""Kind of the data in a benchmark's folder: published, partial, synthetic or unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from p2r_bench.errors import UserError, counted
from p2r_bench.stats.chance import chance_level
from p2r_bench.synth import SYNTHETIC_KEY
from p2r_bench.tasks.location import Origin
from p2r_bench.tasks.shards import SUFFIXES, open_shard
from p2r_bench.types import Cell, DataFacts, DataKind, DataSource, DescribedTask, Sample, Task

ADDED_COLUMN = "boxes"
"""Column that this project adds to published formats; no published file has it."""


def facts_of(
    task: Task, source: DataSource, samples: Sequence[Sample], *, whole: bool = True
) -> DataFacts:
    """Return the task's facts about its data; for a task without `data_facts`, kind "unknown" and the chance level.

    Args:
        whole: Every row was read; otherwise the data is not the published one.
    """
    if not isinstance(task, DescribedTask):
        return DataFacts(chance=chance_level(samples))
    facts = task.data_facts(source, samples)
    if facts.kind == "published" and not whole:
        return replace(facts, kind="partial", note="not every row can be read")
    return facts


def kind_of(
    folder: Path, files: Iterable[Path], counts: Mapping[Cell, int], known: Mapping[Cell, int]
) -> tuple[DataKind, str | None]:
    """Return the kind of data and the reason.

    Args:
        folder: The data folder, whose record names the origin.
        files: The files with the rows; parquet and Arrow files are searched for the synthetic marker.
        counts: Rows by cell.
        known: Published rows by cell; a subset without any row counts as not fetched.
    """
    origin = Origin.read(folder)
    schemas = [schema for path in files if (schema := _schema(path)) is not None]
    if (origin is not None and origin.synthetic) or any(
        SYNTHETIC_KEY in (schema.metadata or {}) for schema in schemas
    ):
        return "synthetic", None
    if not known:
        return "unknown", None
    if not any(counts.values()):
        return "unknown", "no row can be read"
    for cell, (here, expected) in compared(counts, known).items():
        where = " ".join(part for part in cell if part)
        rows = (
            f"{counted(here, 'row')}{f' of {where}' if where else ''}, published are {expected:,}"
        )
        if here != expected:
            return "partial" if here < expected else "unknown", rows
    if any(ADDED_COLUMN in schema.names for schema in schemas):
        return "unknown", f"has a column {ADDED_COLUMN!r}, which published data lacks"
    return "published", None


def compared(counts: Mapping[Cell, int], known: Mapping[Cell, int]) -> dict[Cell, tuple[int, int]]:
    """Return the rows found and the published rows of each cell that can be compared."""
    fetched = {subset for (subset, _), rows in counts.items() if rows}
    return {
        cell: (counts.get(cell, 0), rows)
        for cell, rows in known.items()
        if cell[0] is None or cell[0] in fetched
    }


def rows_by_cell(task: Task, samples: Iterable[Sample]) -> Counter[Cell]:
    """Return the number of samples in each cell."""
    return Counter(cell for sample in samples for cell in task.cells(sample))


def _schema(path: Path):  # type: ignore[no-untyped-def]
    if path.suffix not in SUFFIXES:
        return None
    try:
        return open_shard(path).schema
    except UserError:
        return None  # the scan reports it
