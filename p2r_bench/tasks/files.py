"""Files that data names: where they may lie, and how much of them is read."""

from __future__ import annotations

import stat
from pathlib import Path

LARGEST_FILE = 512 << 20
"""Bytes of an image file, beyond which it is refused."""


def read_file(path: Path, within: str | None = None) -> bytes:
    """The bytes of a regular file.

    Args:
        within: Folder in which it must lie, links resolved; None: anywhere.

    Raises:
        OSError: It cannot be read, lies elsewhere, is a device, pipe or folder, or is larger than `LARGEST_FILE`.
    """
    try:
        if within is not None and not _inside(path, Path(within)):
            raise OSError(f"it lies outside the data folder {within}; --allow-outside reads it")
        found = path.stat()  # opening a pipe would wait for a writer
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is not a regular file")
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except (ValueError, RuntimeError) as error:  # a NUL in the name; a circle of links
        raise OSError(str(error)) from error
    if len(data) > LARGEST_FILE:
        raise OSError(f"it is larger than {LARGEST_FILE >> 20} MiB")
    return data


def _inside(path: Path, folder: Path) -> bool:
    real = path.resolve()
    if real.is_relative_to(folder.resolve()):
        return True
    # Files of a snapshot in the hub's cache are links to the blobs of the same dataset.
    cached = (parent.parent for parent in folder.absolute().parents if parent.name == "snapshots")
    return any(real.is_relative_to((dataset / "blobs").resolve()) for dataset in cached)
