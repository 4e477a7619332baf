"""Files named by data, with limits on their folder and size."""

from __future__ import annotations

import stat
from pathlib import Path

LARGEST_FILE = 512 << 20
"""Largest accepted image file, in bytes."""


def read_file(path: Path, within: str | None = None) -> bytes:
    """Return the bytes of a regular file.

    Args:
        within: Folder that must contain it, links resolved; None for any.

    Raises:
        OSError: Unreadable, in another folder, no regular file, or larger than `LARGEST_FILE`.
    """
    try:
        if within is not None and not _inside(path, Path(within)):
            raise OSError(f"it lies outside the data folder {within}; --allow-outside reads it")
        found = path.stat()  # opening a pipe would wait for a writer
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is not a regular file")
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except (ValueError, RuntimeError) as error:  # a NUL in the name; a loop of links
        raise OSError(str(error)) from error
    if len(data) > LARGEST_FILE:
        raise OSError(f"it is larger than {LARGEST_FILE >> 20} MiB")
    return data


def _inside(path: Path, folder: Path) -> bool:
    real = path.resolve()
    if real.is_relative_to(folder.resolve()):
        return True
    # In the hub's cache, files of a snapshot are links to blobs of the same dataset.
    cached = (parent.parent for parent in folder.absolute().parents if parent.name == "snapshots")
    return any(real.is_relative_to((dataset / "blobs").resolve()) for dataset in cached)
