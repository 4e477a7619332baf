"""Small files in the formats in which the benchmarks are published."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

Rows = Sequence[Mapping[str, Any]]
Writer = Callable[[Path, pa.Table], None]

TEXT, NUMBER = pa.string(), pa.int64()
IMAGE = pa.struct([("bytes", pa.binary()), ("path", TEXT)])
BOXES = ("boxes", pa.list_(pa.struct([("bbox_2d", pa.list_(pa.float64())), ("label", TEXT)])))

HR_BENCH = pa.schema(
    [("index", NUMBER)]
    + [
        (name, TEXT)
        for name in ("question", *"ABCD", "answer", "category", "cycle_category", "image")
    ]
)
MME = pa.schema(
    [
        ("index", NUMBER),
        ("bytes", TEXT),
        ("question", TEXT),
        ("multi-choice options", pa.list_(TEXT)),
        ("answer", TEXT),
        ("category", TEXT),
        ("l2-category", TEXT),
    ]
)
VSTAR = pa.schema(
    [("image", IMAGE), ("text", TEXT), ("category", TEXT), ("label", TEXT), ("question_id", TEXT)]
)


def picture(number: int = 0, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """An image unlike that of any other number below 256."""
    image = Image.new("RGB", size, (number, 255 - number, 7 * number % 256))
    image.putpixel((number % size[0], 3), (255, 255, 255))
    return image


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    buffer = BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def parquet(path: Path, table: pa.Table) -> None:
    """As the hub stores it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=3)


def arrow_stream(path: Path, table: pa.Table) -> None:
    """As `datasets` saves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)


def arrow_file(path: Path, table: pa.Table) -> None:
    """The other Arrow IPC format, compressed as Feather does it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with (
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, table.schema, options=options) as writer,
    ):
        writer.write_table(table, max_chunksize=3)


def write(path: Path, rows: Rows, schema: pa.Schema) -> Path:
    """Rows as a shard of the format that the suffix names."""
    writer: Writer = arrow_stream if path.suffix == ".arrow" else parquet
    writer(path, pa.Table.from_pylist(list(rows), schema=schema))
    return path


def hr_bench_rows(questions: int = 2, *, cycles_outside: bool = False) -> list[dict[str, Any]]:
    """Four rotations of each question, next to each other or a cycle at a time."""
    texts = ["red", "green", "blue", "white"]
    rows = []
    for number in range(questions):
        image = base64.b64encode(encoded(picture(number))).decode()
        for cycle in range(4):
            turned = texts[-cycle:] + texts[:-cycle] if cycle else texts
            rows.append(
                {
                    "question": "What colour is the cup?",
                    **dict(zip("ABCD", turned, strict=True)),
                    "answer": "ABCD"[turned.index("green")],
                    "category": "single" if number % 2 == 0 else "cross",
                    "cycle_category": str(cycle),
                    "image": image,
                }
            )
    if cycles_outside:
        rows.sort(key=lambda row: row["cycle_category"])
    return [{"index": index, **row} for index, row in enumerate(rows)]


def mme_row(index: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "index": index,
        "bytes": base64.b64encode(encoded(picture(index % 256))).decode(),
        "question": "How many ships are there?",
        "multi-choice options": ["(A) 1", "(B) 2", "(C) 3", "(D) 4", "(E) It cannot be seen."],
        "answer": "B",
        "category": "Perception/Remote Sensing",
        "l2-category": "count",
        **changes,
    }


def vstar_text(
    question: str = "What is the colour of the mug?", options: Sequence[str] = ("red", "blue")
) -> str:
    lines = [f"({letter}) {text}" for letter, text in zip("ABCDEF", options, strict=False)]
    ending = "Answer with the option's letter from the given choices directly."
    return "\n".join([question, *lines, ending])


def vstar_row(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "image": {"bytes": encoded(picture(number), "JPEG"), "path": None},
        "text": vstar_text(),
        "category": "direct_attributes" if number % 2 == 0 else "relative_position",
        "label": "B",
        "question_id": str(number),
        **changes,
    }


def vstar_folder(folder: Path, count: int = 4, **changes: Any) -> Path:
    """Images and annotations as in craigwu/vstar_bench: the first option is right."""
    for number in range(count):
        category = "direct_attributes" if number % 2 == 0 else "relative_position"
        (folder / category).mkdir(parents=True, exist_ok=True)
        (folder / category / f"sa_{number}.jpg").write_bytes(encoded(picture(number), "JPEG"))
        annotation = {
            "target_object": ["mug"],
            "bbox": [[16, 12, 32, 6]],
            "question": "What is the colour of the mug?",
            "options": ["blue", "red", "green", "white"],
            **changes,
        }
        (folder / category / f"sa_{number}.json").write_text(json.dumps(annotation))
    return folder
