"""Digest of a task's files from their names, sizes and ends, without reading them whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.types import digest_of

_END = 64 << 10
_PARQUET_MAGIC = b"PAR1"


def files_digest(
    task: str, files: Iterable[tuple[str, Path]], params: Mapping[str, Any] | None = None
) -> str:
    """Return the digest of a task's files and parameters: of each file's label, size, and footer or end.

    Labels do not depend on the files' folder, so that equal files have equal digests on every machine.

    Raises:
        UserError: A file cannot be read.
    """
    described = [[label, path.stat().st_size, _end_digest(path)] for label, path in sorted(files)]
    return digest_of({"task": task, "files": described, "params": dict(params or {})})


def _end_digest(path: Path) -> str:
    """Return the SHA-256 of a parquet file's footer (schema, sizes and statistics), of other files' last 64 KiB."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            end = _END
            if path.suffix == ".parquet" and size >= 8:
                file.seek(size - 8)
                tail = file.read(8)
                if tail[4:] == _PARQUET_MAGIC:
                    end = int.from_bytes(tail[:4], "little") + 8
            file.seek(max(0, size - end))
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
