"""GPUs of a model in this process, for plans."""

from __future__ import annotations

import os


def devices(device: str = "auto") -> str | None:
    """Return a description of the GPUs, or None without any.

    Args:
        device: "auto", or torch's name.
    """
    if device == "auto":
        return os.environ.get("CUDA_VISIBLE_DEVICES", "any of this machine") or None
    return None if device == "cpu" else device
