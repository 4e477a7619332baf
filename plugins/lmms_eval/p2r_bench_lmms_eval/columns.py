"""Images of a dataset's column, by reference: the encoded bytes as the dataset stores them."""

from __future__ import annotations

import base64
import hashlib
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from p2r_bench.atomic import replacing
from p2r_bench.errors import UserError
from p2r_bench.tasks.benchmark import image_ref
from p2r_bench.tasks.location import cache_dir
from p2r_bench.tasks.shards import open_shard
from p2r_bench.types import ImageRef

_BASE64_STARTS = ("/9j/", "iVBOR", "UklGR", "R0lGOD", "data:image/")


class ImageColumn:
    """Image column of a `datasets.Dataset`.

    Rows point into the Arrow files that the dataset is memory-mapped from, so nothing is copied. Datasets that
    live in memory have their images written to the user's cache folder once, named by their digest.
    """

    def __init__(self, dataset: Any, column: str) -> None:
        self._dataset = dataset
        self._column = column
        self._shards = [open_shard(Path(file["filename"])) for file in dataset.cache_files]
        self._starts = list(accumulate((shard.num_rows for shard in self._shards), initial=0))
        mapped = self._starts[-1] == dataset.data.num_rows and self._shards
        self._mapped = bool(mapped) and all(column in s.schema.names for s in self._shards)

    def ref(self, row: int) -> ImageRef:
        """Return the reference of a row's image."""
        if not self._mapped:
            return ImageRef(path=str(stored(self._bytes(row))))
        indices = self._dataset._indices
        at = row if indices is None else indices.column(0)[row].as_py()
        shard = bisect_right(self._starts, at) - 1
        return image_ref(self._shards[shard], self._column, at - self._starts[shard])

    def sizes(self) -> list[int | None]:
        """Return the encoded size of every image, in bytes or characters of base64 text, without reading an image."""
        sizes: list[int | None] = []
        for batch in self._dataset.with_format("arrow").select_columns([self._column]).iter(256):
            values = batch[self._column]
            if pa.types.is_struct(values.type):
                values = pc.struct_field(values, "bytes")
            sizes += pc.binary_length(values).to_pylist()
        return sizes

    def _bytes(self, row: int) -> bytes:
        value = self._dataset.with_format("arrow")[row][self._column][0].as_py()
        if isinstance(value, str):
            return base64.b64decode(value.partition(",")[2] if value[:5] == "data:" else value)
        if isinstance(value, dict):
            value = value["bytes"] or Path(value["path"]).read_bytes()
        if not isinstance(value, bytes):
            raise UserError(f"row {row}, {self._column}: {type(value).__name__} is no image")
        return value


def image_columns(dataset: Any) -> tuple[str, ...]:
    """Return the columns that hold encoded images: of the feature type Image, or base64 text in the first row."""
    from datasets import Image

    found = [name for name, kind in dataset.features.items() if isinstance(kind, Image)]
    for name, kind in dataset.features.items():
        if getattr(kind, "dtype", None) in ("string", "large_string"):
            value = dataset.with_format("arrow")[0][name][0].as_py()
            if isinstance(value, str) and len(value) > 64 and value.startswith(_BASE64_STARTS):
                found.append(name)
    return tuple(found)


def stored(data: bytes) -> Path:
    """Return the cache file of these bytes, written if it is missing."""
    folder = cache_dir() / "lmms-eval" / "images"
    path = folder / hashlib.sha256(data).hexdigest()
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    return path
