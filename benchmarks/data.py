"""Rows in HR-Bench's format for the benchmarks, written once and reused."""

from __future__ import annotations

import argparse
import base64
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from p2r_bench.synth import write_synth
from p2r_bench.synth.rows import Resolution

ROTATIONS = 4
DRAWN = 40
"""Number of different pictures; further rows repeat them as separate files."""
_GROUP_ROWS = 32


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for the data folder."""
    default = Path(tempfile.gettempdir()) / "p2r-bench-benchmarks"
    parser.add_argument(
        "--cache-dir", type=Path, default=default, help=f"folder for data that is made [{default}]"
    )


def large_rows(cache: Path, rows: int, resolution: Resolution = "8k") -> Path:
    """Return a folder of Synth-HR rows, four rotations an image, each image with its own digest.

    Drawing an 8K image takes half a second of a core. The first `DRAWN` images are drawn; the others are copies with
    another comment in the file, which cost a reader as much.
    """
    drawn = cache / f"synth-{resolution}-{min(rows, DRAWN * ROTATIONS)}"
    if not list(drawn.rglob("*.parquet")):
        write_synth(drawn, seed=0, rows=min(rows, DRAWN * ROTATIONS), resolution=resolution)
    if rows <= DRAWN * ROTATIONS:
        return drawn
    folder = cache / f"rows-{resolution}-{rows}"
    if not list(folder.rglob("*.parquet")):
        (source,) = drawn.rglob("*.parquet")
        _write(folder / source.name, pq.read_schema(source), _repeated(pq.read_table(source), rows))
    return folder


def small_rows(cache: Path, rows: int) -> Path:
    """Return a folder of rows with images of 96×64 pixels, for measurements that do not depend on image size."""
    folder = cache / f"small-{rows}"
    if not list(folder.rglob("*.parquet")):
        schema = pa.schema(
            [("index", pa.int64())]
            + [(name, pa.string()) for name in ("question", *"ABCD", "answer", "category")]
            + [("cycle_category", pa.string()), ("image", pa.string()), ("boxes", pa.string())]
        )
        _write(folder / "hrbench_4k-00000-of-00001.parquet", schema, _small(rows))
    return folder


def with_comment(jpeg: bytes, comment: str) -> bytes:
    """Return the same picture as another file, with a comment segment after the start marker."""
    text = comment.encode()
    return jpeg[:2] + b"\xff\xfe" + (2 + len(text)).to_bytes(2, "big") + text + jpeg[2:]


def _repeated(drawn: pa.Table, rows: int) -> Iterator[dict[str, Any]]:
    for index in range(rows):
        turn, place = divmod(index, len(drawn))
        row = drawn.slice(place, 1).to_pylist()[0]
        if turn:
            jpeg = with_comment(base64.b64decode(row["image"]), f"copy {turn}")
            row |= {
                "image": base64.b64encode(jpeg).decode(),
                "question": f"{row['question']} ({turn})",
            }
        yield row | {"index": index}


def _small(rows: int) -> Iterator[dict[str, Any]]:
    colours = ("red", "green", "blue", "black")
    for index in range(rows):
        number, turn = divmod(index, ROTATIONS)
        if turn == 0:
            image = base64.b64encode(_picture(number)).decode()
        turned = colours[turn:] + colours[:turn]
        yield {
            "index": index,
            "question": f"Which colour is the square in picture {number}?",
            **dict(zip("ABCD", turned, strict=True)),
            "answer": "ABCD"[turned.index(colours[number % 4])],
            "category": ("single", "cross")[number % 2],
            "cycle_category": str(turn),
            "image": image,
            "boxes": '[{"bbox_2d": [100, 100, 600, 700], "label": "square"}]',
        }


def _picture(number: int) -> bytes:
    image = Image.new("RGB", (96, 64), (number % 251, number // 251 % 251, 200))
    ImageDraw.Draw(image).rectangle((10, 7, 57, 44), fill="red")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _write(path: Path, schema: pa.Schema, rows: Iterator[dict[str, Any]]) -> None:
    """Write atomically, one row group at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with pq.ParquetWriter(part, schema, compression="none") as writer:
        group: list[dict[str, Any]] = []
        for row in rows:
            group.append(row)
            if len(group) == _GROUP_ROWS:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                group = []
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
    part.replace(path)
