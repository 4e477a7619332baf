"""Headers of safetensors files, read without loading a tensor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from p2r_bench.errors import UserError

LFS_POINTER = b"version https://git-lfs"
"""First bytes of the text file that Git LFS leaves in place of a file it has not fetched."""


@dataclass(frozen=True)
class Header:
    """Header of a safetensors file.

    Attributes:
        text: The JSON header as bytes.
        tensors: Name to `dtype`, `shape` and `data_offsets` of each tensor; offsets count from `start`.
        start: Byte at which the tensors begin.
    """

    text: bytes
    tensors: Mapping[str, Mapping[str, Any]]

    @property
    def start(self) -> int:
        return 8 + len(self.text)


def read_header(path: Path) -> Header:
    """Read the header, after checking that the file is whole.

    Raises:
        UserError: The file is a Git LFS pointer, truncated, or not a safetensors file.
    """
    refuse_lfs_pointer(path)
    try:
        with safe_open(path, framework="numpy"), path.open("rb") as stream:
            text = stream.read(int.from_bytes(stream.read(8), "little"))
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: not a safetensors file, or one that was cut off or damaged ({error}); copy or download it again."
        ) from error
    return Header(text, {k: v for k, v in json.loads(text).items() if k != "__metadata__"})


def refuse_lfs_pointer(path: Path) -> None:
    """Raise UserError when a file is a Git LFS pointer, or cannot be read."""
    try:
        with path.open("rb") as stream:
            begins = stream.read(len(LFS_POINTER))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if begins == LFS_POINTER:
        raise UserError(
            f"{path}: a Git LFS pointer, not the file itself. Run `git lfs pull` in that folder, or "
            "download it again with `hf download`."
        )
