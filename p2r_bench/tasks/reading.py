"""Reading of samples' image files and their headers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from threading import Lock

import pyarrow as pa

from p2r_bench.adapter.image_files import UNREADABLE, opened, stored_geometry
from p2r_bench.errors import ImageError, P2RError
from p2r_bench.tasks.column import Window
from p2r_bench.tasks.files import read_file
from p2r_bench.tasks.rendered import RECIPE, read_or_render
from p2r_bench.tasks.shards import ParquetShard, Shard, open_shard
from p2r_bench.types import ImageRef

MAX_ASPECT = 200
"""Aspect ratio above which the Qwen-VL families' size rule refuses an image."""

_OPEN_SHARDS = 8


class ImageReader:
    """Reader of the encoded images of ImageRefs; thread-safe.

    Rows of a parquet shard requested in order, or nearly so, cost one pass over the shard; any other order costs more.
    Arrow shards are memory-mapped.

    Args:
        window_bytes: Bytes of recently read values that are kept, over all shards.
    """

    def __init__(self, window_bytes: int = 256 << 20) -> None:
        self._window = Window(window_bytes)
        self._shards: OrderedDict[str, Shard] = OrderedDict()
        self._lock = Lock()

    def read(self, ref: ImageRef) -> bytes:
        """Return the bytes of the image file.

        Raises:
            ImageError: A failed read; the message names the file, row and column.
        """
        if ref.data is not None:
            return _decode(memoryview(ref.data), ref)
        if ref.path is None:
            raise ImageError("an image reference has neither data nor a path")
        if ref.row is None:
            return _decode(memoryview(_file_bytes(Path(ref.path), ref, ref.within)), ref)
        if ref.column is None:
            raise ImageError(f"{place(ref)}: the image reference names no column")
        column, _, field = ref.column.partition(".")
        try:
            value = self._shard(ref.path).value(column, ref.row)
            if field and value.is_valid:
                stored = value[field]
                if not stored.is_valid and (beside := _stored_path(value)) is not None:
                    folder = Path(ref.path).parent
                    return _file_bytes(folder / beside, ref, ref.within or str(folder))
                value = stored
        except P2RError as error:
            raise ImageError(str(error)) from error
        except (pa.ArrowException, OSError, IndexError, KeyError, ValueError) as error:
            raise ImageError(f"{place(ref)}: cannot be read: {error!r}") from error
        if not value.is_valid:
            raise ImageError(f"{place(ref)}: there is no image (null)")
        return _decode(memoryview(value.as_buffer()), ref)

    def _shard(self, path: str) -> Shard:
        with self._lock:
            shard = self._shards.pop(path, None) or open_shard(Path(path), self._window)
            self._shards[path] = shard
            while len(self._shards) > _OPEN_SHARDS:
                _, dropped = self._shards.popitem(last=False)
                if isinstance(dropped, ParquetShard):
                    dropped.close()
            return shard


def place(ref: ImageRef) -> str:
    """Return the location of an image for messages: "FILE, row 3, image"."""
    parts = [ref.path or "image in memory"]
    parts += [f"row {ref.row}"] if ref.row is not None else []
    return ", ".join([*parts, *([ref.column] if ref.column else [])])


def _stored_path(value: pa.StructScalar) -> str | None:
    path = value["path"].as_py() if value.type.get_field_index("path") >= 0 else None
    return path if isinstance(path, str) else None


def _file_bytes(path: Path, ref: ImageRef, within: str | None) -> bytes:
    try:
        if within is None and (path.parent / RECIPE).is_file():
            return read_or_render(path)
        return read_file(path, within)
    except OSError as error:
        reason = error.strerror or error
        raise ImageError(f"{place(ref)}: {path.name} cannot be read: {reason}") from error


def _decode(data: memoryview, ref: ImageRef) -> bytes:
    if ref.encoding == "raw":
        return bytes(data)
    if bytes(data[:5]) == b"data:":
        head, comma, _ = bytes(data[:128]).partition(b",")
        data = data[len(head) + len(comma) :]
    try:
        return base64.b64decode(data)
    except binascii.Error as error:
        raise ImageError(f"{place(ref)}: not base64 text: {error}") from error


_shared: ImageReader | None = None
_shared_lock = Lock()


def _forget_shared() -> None:
    global _shared, _shared_lock
    _shared, _shared_lock = None, Lock()


os.register_at_fork(after_in_child=_forget_shared)


def read_image(ref: ImageRef) -> bytes:
    """Return the bytes of the image file, through one ImageReader per process.

    Raises:
        ImageError: A failed read; the message names the file, row and column.
    """
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = ImageReader()
    return _shared.read(ref)


def probe(ref: ImageRef, data: bytes) -> ImageRef:
    """Return the reference with digest, stored size and EXIF orientation, from the file's header.

    Raises:
        ImageError: An unknown format (see `adapter.image_files.FORMATS`), or an image without pixels.
    """
    try:
        with opened(data) as image:
            size, orientation = stored_geometry(image, data)
    except ImageError as error:
        start = data[:12].hex(" ")
        reason = str(error).removeprefix(UNREADABLE)
        raise ImageError(
            f"{place(ref)}: not a readable image ({len(data)} bytes, starting {start}): {reason}"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    return replace(ref, digest=digest, size=size, orientation=orientation)
