"""Choice of the attention implementation: flash-attn, then sdpa, then eager, if available."""

from __future__ import annotations

import importlib
from typing import Literal

from p2r_bench.errors import UserError

Attention = Literal["auto", "flash-attn", "sdpa", "eager"]

# Names that transformers uses.
IMPLEMENTATION = {"flash-attn": "flash_attention_2", "sdpa": "sdpa", "eager": "eager"}


def choose_attention(asked: Attention, *, device: str, dtype: str, model_class: type) -> str:
    """Return transformers' name of the attention implementation to load the model with.

    Args:
        device: Torch device, such as "cuda:1", "mps" or "cpu".
        dtype: "float32", "bfloat16" or "float16".
        model_class: Class of the model; `_supports_flash_attn` and `_supports_sdpa` say what it can use.

    Raises:
        UserError: The implementation asked for by name cannot run here; the message says why.
    """
    refusals = {
        "flash-attn": flash_attention_missing(device, dtype, model_class),
        "sdpa": None
        if getattr(model_class, "_supports_sdpa", False)
        else f"{model_class.__name__} does not support it",
        "eager": None,
    }
    if asked != "auto":
        if reason := refusals[asked]:
            raise UserError(
                f"--engine-arg attention={asked} cannot be used: {reason}. "
                "Leave the argument out to use the best that is available."
            )
        return IMPLEMENTATION[asked]
    return next(IMPLEMENTATION[name] for name, reason in refusals.items() if reason is None)


def flash_attention_missing(device: str, dtype: str, model_class: type) -> str | None:
    """Return the reason why flash-attn cannot be used, or None."""
    if not device.startswith("cuda"):
        return f"flash-attn needs a CUDA device, and the model runs on {device}"
    if dtype not in ("bfloat16", "float16"):
        return f"flash-attn needs bfloat16 or float16, and the model runs in {dtype}"
    if not getattr(model_class, "_supports_flash_attn", False):
        return f"{model_class.__name__} does not support it"
    try:
        importlib.import_module("flash_attn")
    except ImportError as error:
        return (
            f"the package flash-attn cannot be imported ({error}); pip install 'p2r-bench[flash]'"
        )
    return None
