"""The journal as Arrow tables: its lines are parsed by Arrow, without a Python object for every value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from p2r_bench.store.journal_index import JournalIndex, Key, Row
from p2r_bench.store.schema import SAMPLES, VERDICTS
from p2r_bench.store.tables import BATCH_ROWS, to_arrow

Tables = tuple[Any, Any]
"""Sample rows and verdict rows as Arrow tables; the verdicts in the samples' order, then by scorer."""

_key = itemgetter("sample_id", "repeat")

_RECORD = pa.schema(
    [
        ("sample", pa.struct(list(SAMPLES.schema))),
        ("verdicts", pa.list_(pa.struct(list(VERDICTS.schema)))),
    ]
)


def journal_tables(index: JournalIndex) -> Iterator[Tables]:
    """All outcomes in the dataset's order, at most `BATCH_ROWS` samples at a time.

    Raises:
        UserError: A line is damaged.
    """
    keys = iter(index.ordered())
    while some := list(islice(keys, BATCH_ROWS)):
        yield _parsed(index, some) or _built(index, some)


def outcomes_of(
    tables: Tables, samples: Sequence[str], verdicts: Sequence[str]
) -> Iterator[tuple[Row, list[Row]]]:
    """Sample rows with their verdict rows, with the named columns and those of the key only.

    `last_finish_reason`, the finish reason of the last stage, may be named like a column of the samples.
    """
    judged = groupby(_rows(tables[1], verdicts), _key)
    waiting = next(judged, None)
    for sample in _rows(tables[0], samples):
        found: list[Row] = []
        if waiting is not None and waiting[0] == _key(sample):
            found = list(waiting[1])
            waiting = next(judged, None)
        yield sample, found


def _rows(table: Any, names: Iterable[str]) -> Iterator[Row]:
    names = tuple(dict.fromkeys(("sample_id", "repeat", *names)))
    columns = (
        _last_finish_reasons(table)
        if name == "last_finish_reason"
        else table.column(name).to_pylist()
        for name in names
    )
    return (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))


def _last_finish_reasons(samples: Any) -> list[str | None]:
    stages = samples.column("stages").combine_chunks()
    reasons = iter(pc.struct_field(stages.flatten(), "finish_reason").to_pylist())
    lengths = pc.list_value_length(stages).to_pylist()
    return [list(islice(reasons, length))[-1] if length else None for length in lengths]


def _parsed(index: JournalIndex, keys: Sequence[Key]) -> Tables | None:
    """Tables of these keys, or None where Arrow cannot make them from their lines.

    That is so where verdicts were added later, where a text holds lone surrogates, and where a line is damaged.
    """
    entries = [index.entries[key] for key in keys]
    if any(entry.later for entry in entries):
        return None
    with index.path.open("rb") as file:
        lines = b"".join(_line(file, *entry.span) for entry in entries)
    try:
        records = pj.read_json(
            pa.BufferReader(lines),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(lines) + 1),
            parse_options=pj.ParseOptions(
                explicit_schema=_RECORD, unexpected_field_behavior="ignore"
            ),
        )
    except pa.ArrowInvalid:
        return None
    if records.num_rows != len(keys):
        return None
    records = records.combine_chunks()
    return _samples(records), _verdicts(records)


def _line(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


def _samples(records: Any) -> Any:
    column = records.column("sample").combine_chunks()
    return pa.Table.from_arrays(column.flatten(), schema=SAMPLES.schema)


def _verdicts(records: Any) -> Any:
    column = records.column("verdicts").combine_chunks()
    table = pa.Table.from_arrays(column.flatten().flatten(), schema=VERDICTS.schema)
    order = {"row": pc.list_parent_indices(column), "scorer": table.column("scorer")}
    by = [("row", "ascending"), ("scorer", "ascending")]
    return table.take(pc.sort_indices(pa.table(order), sort_keys=by))


def _built(index: JournalIndex, keys: Sequence[Key]) -> Tables:
    samples: list[Row] = []
    verdicts: list[Row] = []
    for sample, judged in index.outcomes(keys):
        samples.append(sample)
        verdicts += judged
    return to_arrow(samples, SAMPLES.schema), to_arrow(verdicts, VERDICTS.schema)
