"""The rows that verl trains on: samples, and for the reasoner the frozen perceiver's texts, in one parquet file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from p2r_bench.adapter import TwoStage
from p2r_bench.atomic import replacing
from p2r_bench.errors import UserError
from p2r_bench.types import Box, ImageRef, Request, Sample
from p2r_bench_pra_grpo.stage import StageRole

SCHEMA = pa.schema(
    [pa.field("sample", pa.string(), nullable=False), pa.field("boxes", pa.string())]
)


@dataclass(frozen=True)
class Row:
    """One prompt of a stage.

    Attributes:
        sample: The sample, probed.
        boxes: The frozen perceiver's text (role "reasoner"), else None.
    """

    sample: Sample
    boxes: str | None = None

    def request(self, two: TwoStage, role: StageRole, **sampling: Any) -> Request:
        """Return the request that the policy answers, equal to that of the evaluation."""
        if role == "perceiver":
            return two.perceive_request(self.sample, **sampling)
        if role == "baseline":
            return two.single_request(self.sample, "think", **sampling)
        if self.boxes is None:
            raise ValueError(f"sample {self.sample.id}: the reasoner's prompt needs boxes")
        return two.reason_request(self.sample, two.evidence(self.sample, self.boxes), **sampling)


def write_rows(path: Path, rows: Sequence[Row], images: Path) -> None:
    """Write the rows to a file, replacing it atomically.

    Images that are only in memory become files below `images`, so that every node can read them.

    Raises:
        UserError: A sample was not probed.
    """
    values = [
        {"sample": sample_to_json(_stored(row.sample, images)), "boxes": row.boxes} for row in rows
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        pq.write_table(pa.Table.from_pylist(values, schema=SCHEMA), beside)


def read_rows(path: str | Path) -> list[Row]:
    """Return the rows of a file, in order.

    Raises:
        UserError: The file is missing, or holds no rows of a stage.
    """
    try:
        table = pq.read_table(path, schema=SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: not a stage's rows: {error}") from error
    return [Row(sample_from_json(v["sample"]), v["boxes"]) for v in table.to_pylist()]


def sample_to_json(sample: Sample) -> str:
    """Return a sample as JSON. Its image stays in place: only the reference is stored, never bytes.

    Raises:
        ValueError: The image is in memory only.
    """
    if sample.image.data is not None:
        raise ValueError(f"sample {sample.id}: its image is in memory only")
    return json.dumps(dataclasses.asdict(sample), separators=(",", ":"), ensure_ascii=False)


def sample_from_json(text: str) -> Sample:
    """Return the sample that `sample_to_json` wrote. It is equal, except that tuples in `meta` become lists."""
    values: dict[str, Any] = json.loads(text)
    values["image"] = image_from(values["image"])
    if values["boxes"] is not None:
        values["boxes"] = tuple(Box(tuple(box["xyxy"]), box["label"]) for box in values["boxes"])
    return Sample(**values)


def image_from(values: Mapping[str, Any]) -> ImageRef:
    """Return an image reference from its fields."""
    size = values["size"]
    return ImageRef(**{**values, "size": None if size is None else tuple(size)})


def _stored(sample: Sample, images: Path) -> Sample:
    image, digest = sample.image, sample.image.digest
    if digest is None or image.size is None:
        raise UserError(f"sample {sample.id}: its image was not probed")
    if image.data is None:
        if image.path is not None and not Path(image.path).is_absolute():
            image = dataclasses.replace(image, path=str(Path(image.path).resolve()))
        return dataclasses.replace(sample, image=image)
    from p2r_bench.tasks.reading import read_image

    file = images / digest
    if not file.is_file():
        images.mkdir(parents=True, exist_ok=True)
        with replacing(file) as beside:
            beside.write_bytes(read_image(image))
    image = dataclasses.replace(image, data=None, path=str(file.resolve()), encoding="raw")
    return dataclasses.replace(sample, image=image)
