"""Atomic file writes: a reader sees the old file or the new one, whole."""

from __future__ import annotations

import glob
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from p2r_bench.errors import UserError

_ABANDONED_SECONDS = 3600.0


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path as `swapping` does, but raise UserError on failure; for the user's own files.

    Raises:
        UserError: The file cannot be written; `path` is unchanged.
    """
    try:
        with swapping(path) as temporary:
            yield temporary
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written: {error.strerror or error}. The earlier file is unchanged; "
            "free disk space or fix the permissions and run the same command again."
        ) from error


@contextmanager
def swapping(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to. Sync it and move it to `path` when the block succeeds.

    Temporary files of `path` that killed processes left more than an hour ago are removed.

    Raises:
        OSError: The file cannot be written; `path` is unchanged.
    """
    remove_temporaries(path.parent, path.name, older_than=_ABANDONED_SECONDS)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_temporaries(folder: Path, name: str = "*", *, older_than: float = 0.0) -> None:
    """Remove temporary files of `replacing` that killed processes left in a folder.

    Args:
        name: Name of the final file; default: any file.
        older_than: Least age of the last write in seconds. 0 is for folders that the caller has locked.
    """
    pattern = name if name == "*" else glob.escape(name)
    for path in folder.glob(f".{pattern}.[0-9]*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime >= older_than:
                path.unlink()


def make_folder(path: Path) -> None:
    """Make a folder with its parents, as `mkdir -p` does. The folders survive a power failure.

    Raises:
        OSError: The folder cannot be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing or [path]:
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make new and renamed entries of the folder durable, where the platform can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
