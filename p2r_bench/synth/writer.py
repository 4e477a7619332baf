"""Writing of Synth-HR in the formats of the published benchmarks."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from p2r_bench.atomic import replacing
from p2r_bench.errors import UserError
from p2r_bench.synth.metadata import with_metadata
from p2r_bench.synth.rows import (
    ROTATIONS,
    Question,
    Resolution,
    Row,
    Split,
    check_arguments,
    jpeg,
    questions,
    rows_of,
)

Format = Literal["hrbench", "vstar", "mme"]
FORMATS = ("hrbench", "vstar", "mme")

_GROUP_ROWS = 64
"""Rows per parquet row group: a few dozen megabytes at 8K."""


def write_synth(
    out_dir: str | os.PathLike[str],
    *,
    seed: int,
    rows: int,
    resolution: Resolution = "4k",
    format: Format = "hrbench",
    split: Split = "test",
    workers: int | None = None,
) -> Path:
    """Write `rows` rows as one parquet file, laid out like the published dataset, and return its path.

    Formats: ``hrbench`` (HR-Bench's columns, image as base64 text), ``vstar`` (those of
    lmms-lab/vstar-bench) and ``mme`` (those of MME-RealWorld for lmms-eval); each with the extra column
    ``boxes``, a list of ``{"bbox_2d": [x1, y1, x2, y2], "label": …}`` in thousandths. The same arguments give the same
    file. The write is atomic: an interrupted call leaves no file.

    Args:
        workers: Rendering processes; by default one per available core.

    Raises:
        UserError: An argument out of range, or a failed write.
    """
    import pyarrow.parquet as pq

    check_arguments(rows, resolution, split)
    if format not in FORMATS:
        raise UserError(f"format: {format!r} is not known; use one of {', '.join(FORMATS)}")
    name = {"hrbench": f"hrbench_{resolution}", "vstar": "test", "mme": "train"}[format]
    path = Path(out_dir) / "data" / f"{name}-00000-of-00001.parquet"
    schema, to_record = _layout(format)
    arguments = {"seed": seed, "rows": rows, "resolution": resolution, "split": split}
    schema = with_metadata(schema, arguments)
    rendered = _rendered(seed, rows, resolution, split, workers)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error}") from error
    with (
        replacing(path) as temporary,
        temporary.open("wb") as file,
        pq.ParquetWriter(file, schema, compression="none") as writer,
    ):
        for group in _batches(rendered, _GROUP_ROWS):
            writer.write_table(_table([to_record(row) for row in group], schema))
    return path


def _rendered(
    seed: int, rows: int, resolution: Resolution, split: Split, workers: int | None
) -> Iterator[Row]:
    posed = list(questions(seed, -(-rows // ROTATIONS), split))
    workers = min(workers or len(os.sched_getaffinity(0)), len(posed))
    jobs = [(question, resolution) for question, _ in posed]
    if workers == 1:
        yield from _numbered(posed, map(_jpeg, jobs), rows)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from _numbered(posed, pool.map(_jpeg, jobs, chunksize=2), rows)


def _jpeg(job: tuple[Question, Resolution]) -> bytes:
    return jpeg(job[0].scene, job[1])


def _numbered(
    posed: list[tuple[Question, int]], images: Iterable[bytes], rows: int
) -> Iterator[Row]:
    for number, ((question, start), image) in enumerate(zip(posed, images, strict=True)):
        for row in rows_of(question, start, number, image):
            if row.index < rows:
                yield row


def _batches(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while batch := list(islice(rows, size)):
        yield batch


def _table(records: list[dict[str, Any]], schema: Any) -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist(records, schema=schema)


def _layout(format: str) -> tuple[Any, Any]:
    """Return the parquet schema of a format and the function that makes its records."""
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    box = pa.struct([("bbox_2d", pa.list_(pa.float64())), ("label", text)])
    extra = [("boxes", pa.list_(box))]
    if format == "hrbench":
        columns = [("index", number), ("question", text), *((letter, text) for letter in "ABCD")]
        columns += [("answer", text), ("category", text), ("cycle_category", text), ("image", text)]
        return pa.schema([*columns, *extra]), _hrbench
    if format == "vstar":
        image = pa.struct([("bytes", pa.binary()), ("path", text)])
        columns = [("image", image), ("text", text), ("category", text), ("label", text)]
        return pa.schema([*columns, ("question_id", text), *extra]), _vstar
    columns = [("index", text), ("bytes", text), ("question", text)]
    columns += [("multi-choice options", pa.list_(text)), ("answer", text), ("category", text)]
    return pa.schema([*columns, ("l2-category", text), *extra]), _mme


def _extra(row: Row) -> dict[str, Any]:
    named = zip(row.boxes, row.labels, strict=True)
    return {"boxes": [{"bbox_2d": list(box), "label": label} for box, label in named]}


def _hrbench(row: Row) -> dict[str, Any]:
    return {
        "index": row.index,
        "question": row.question,
        **row.options,
        "answer": row.answer,
        "category": row.category,
        "cycle_category": str(row.cycle_category),
        "image": base64.b64encode(row.image).decode(),
        **_extra(row),
    }


def _vstar(row: Row) -> dict[str, Any]:
    category = {"single": "direct_attributes", "cross": "relative_position"}[row.category]
    options = "\n".join(f"({letter}) {text}" for letter, text in row.options.items())
    ending = "Answer with the option's letter from the given choices directly."
    return {
        "image": {"bytes": row.image, "path": f"{row.index // ROTATIONS}.jpg"},
        "text": f"{row.question}\n{options}\n{ending}",
        "category": category,
        "label": row.answer,
        "question_id": str(row.index),
        **_extra(row),
    }


def _mme(row: Row) -> dict[str, Any]:
    skill = {"single": "Perception", "cross": "Reasoning"}[row.category]
    return {
        "index": str(row.index),
        "bytes": base64.b64encode(row.image).decode(),
        "question": row.question,
        "multi-choice options": [f"({letter}) {text}" for letter, text in row.options.items()],
        "answer": row.answer,
        "category": f"{skill}/OCR with Complex Context",
        "l2-category": row.category,
        **_extra(row),
    }
