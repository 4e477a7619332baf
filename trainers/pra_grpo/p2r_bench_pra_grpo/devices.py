"""Which GPUs a model has that is in this process, as a plan says it."""

from __future__ import annotations

import os


def devices(device: str = "auto") -> str | None:
    """A description, or None where there are none.

    Args:
        device: "auto", or torch's name.
    """
    if device == "auto":
        return os.environ.get("CUDA_VISIBLE_DEVICES", "any of this machine") or None
    return None if device == "cpu" else device
