"""Identity of a task's files without reading them: names, sizes and ends."""

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
    """Digest of a task's files and parameters: per file its label, size, and footer or end.

    Labels are names that do not depend on where the files lie, so that equal files give equal digests
    wherever and however they were fetched.

    Raises:
        UserError: A file cannot be read.
    """
    described = [[label, path.stat().st_size, _end_digest(path)] for label, path in sorted(files)]
    return digest_of({"task": task, "files": described, "params": dict(params or {})})


def _end_digest(path: Path) -> str:
    """SHA-256 of a parquet file's footer (schema, sizes and statistics of every chunk), else of the last 64 KiB."""
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
