"""Checkpoint of a stage on disk, replaced atomically."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from p2r_bench.atomic import replacing
from p2r_bench.errors import UserError

FILE = "checkpoint.pt"


@dataclass(frozen=True)
class Checkpoint:
    """State of a stage after a step. Random numbers need no state: they follow from the seed and the step.

    Attributes:
        step: Steps done.
        identity: Digest of all settings that decide how the stage continues. A checkpoint with another digest is
            refused.
        parameters: Trained parameters by name.
        optimizer: State of AdamW.
        seconds: Seconds of all steps so far.
    """

    step: int
    identity: str
    parameters: dict[str, Tensor]
    optimizer: dict[str, Any]
    seconds: float


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the folder's checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / FILE) as beside:
        torch.save(vars(checkpoint), beside)


def read_checkpoint(folder: Path, identity: str | None = None) -> Checkpoint | None:
    """Return the folder's checkpoint, or None.

    Args:
        identity: The identity that it must have; None accepts any.

    Raises:
        UserError: The checkpoint belongs to a training with other settings, or cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        checkpoint = Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, ValueError, TypeError, EOFError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); delete it to start the stage again"
        ) from error
    if identity is not None and checkpoint.identity != identity:
        raise UserError(
            f"{path}: the stage was begun with another model, other data or other settings; put them back, "
            "or delete the file to start the stage again"
        )
    return checkpoint
