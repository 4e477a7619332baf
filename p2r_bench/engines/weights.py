"""Refusal of checkpoints whose weights do not all load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from p2r_bench.engines.model_files import some
from p2r_bench.errors import UserError

_MEANINGS = {
    "missing_keys": "missing in the checkpoint, so left at random values",
    "unexpected_keys": "in the checkpoint without a place in the model",
    "mismatched_keys": "of another shape than the model's",
}
"""Key of transformers' loading info to its meaning."""


def check_all_loaded(model: Any, info: Mapping[str, Any], folder: Path, name: str) -> None:
    """Check that every weight of a model comes from its checkpoint and every tensor there has been used.

    Tied weights count as loaded, and so do tensors that the architecture declares to be ignorable.

    Args:
        info: Second value of `from_pretrained(output_loading_info=True)`.
        name: The name that the user gave the model, for the message.

    Raises:
        UserError: The check fails; the message lists the tensors.
    """
    problems = [
        f"{len(keys)} {meaning}: {some(sorted(map(_key_text, keys)))}"
        for kind, meaning in _MEANINGS.items()
        if (keys := list(info.get(kind) or ()))
    ]
    problems += [str(message) for message in info.get("error_msgs") or ()]
    if problems:
        listing = "\n  ".join(problems)
        raise UserError(
            f"{name}: not all weights in {folder} load into {type(model).__name__}:\n  {listing}\n"
            "The figures would be those of a partly random model. Save the checkpoint again with "
            "save_pretrained(), download it again, or correct config.json."
        )
    _check_tied_head(model, folder, name)


def check_finite(model: Any, folder: Path, name: str, dtype: str) -> None:
    """Check that no weight is NaN or infinite.

    Args:
        dtype: Precision of the weights in memory, for the message.

    Raises:
        UserError: The check fails; the message lists the tensors.
    """
    import torch

    def finite(tensor: torch.Tensor) -> bool:
        if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            return True
        return all(bool(extreme.isfinite()) for extreme in torch.aminmax(tensor.detach()))

    broken = [
        key for key, tensor in model.named_parameters() if tensor.numel() and not finite(tensor)
    ]
    if broken:
        raise UserError(
            f"{name}: {len(broken)} weights in {folder} hold NaN or infinity: {some(broken)}. Download the checkpoint "
            f"again, or save one from before the training diverged; if it is stored in a wider type than {dtype}, "
            "--engine-arg dtype=float32 may hold its values."
        )


def _check_tied_head(model: Any, folder: Path, name: str) -> None:
    """Check that a model whose configuration ties the output head to the embedding stores no other head."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or embedding is None or not getattr(model.config, "tie_word_embeddings", False):
        return
    if head.weight.data_ptr() != embedding.weight.data_ptr():
        raise UserError(
            f"{name}: config.json in {folder} ties the output head to the embedding (tie_word_embeddings), and the "
            "weights hold another head (lm_head.weight): engines differ in which of the two they use. Set "
            "tie_word_embeddings to false in config.json if this head belongs to the model; else save the "
            "checkpoint again without it."
        )


def check_adapter_loaded(expected: Iterable[str], found: Iterable[str], folder: str) -> None:
    """Check that a LoRA adapter's file holds the tensors that its configuration asks for, and no others.

    Raises:
        UserError: The check fails; the message lists the tensors.
    """
    expected, found = set(expected), set(found)
    problems = [
        f"{len(keys)} {meaning}: {some(sorted(keys))}"
        for keys, meaning in (
            (expected - found, _MEANINGS["missing_keys"]),
            (found - expected, _MEANINGS["unexpected_keys"]),
        )
        if keys
    ]
    if problems:
        listing = "\n  ".join(problems)
        raise UserError(
            f"--engine-arg lora={folder}: not all of the adapter's weights load:\n  {listing}\n"
            "Check that it was trained on this model, and save it again."
        )


def _key_text(key: Any) -> str:
    """Return a tensor's name, with both shapes if they differ."""
    if isinstance(key, str):
        return key
    name, *shapes = key
    return f"{name} ({' instead of '.join(str(tuple(shape)) for shape in shapes)})"
