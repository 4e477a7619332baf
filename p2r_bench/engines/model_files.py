"""Checks of a model folder's files that need no model in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from p2r_bench.engines.safetensors_file import read_header, refuse_lfs_pointer
from p2r_bench.errors import UserError

INDEX = "model.safetensors.index.json"
TOKENIZER = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""Alternative sets of tokenizer files. A model folder needs every file of one set."""
IMAGE_PROCESSOR = ("preprocessor_config.json", "processor_config.json")
"""Alternative image processor files. A model folder needs one of them."""


def check_model_files(folder: Path, text_files: Iterable[str]) -> None:
    """Check that no file of a model folder is missing, truncated, a Git LFS pointer or unreadable.

    Args:
        text_files: Names of the configuration and tokenizer files; those that are absent are passed over.

    Raises:
        UserError: A file fails the check; the message names it and says what to do.
    """
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: no config.json; not a model folder.")
    for name in text_files:
        if (folder / name).is_file():
            _check_text(folder / name)
    _check_weights(folder)


def check_processor_files(folder: Path) -> None:
    """Check that a model folder has a tokenizer and an image processor.

    Raises:
        UserError: A file is missing; the message names it and says where to get it.
    """
    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZER):
        raise UserError(
            f"{folder}: no tokenizer (tokenizer.json, or vocab.json with merges.txt); copy these files from the "
            "model that this one was made from."
        )
    if not any((folder / name).is_file() for name in IMAGE_PROCESSOR):
        raise UserError(
            f"{folder}: no image processor (preprocessor_config.json); copy this file from the model that this "
            "one was made from."
        )


def _check_text(path: Path) -> None:
    refuse_lfs_pointer(path)
    if path.suffix == ".json":
        read_json(path)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        UserError: The file cannot be read or holds no JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); copy or download it again.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: not a JSON object; copy or download it again.")
    return value


def _check_weights(folder: Path) -> None:
    """Check that every weight file is whole, and that every tensor of the index is in its shard."""
    if (folder / INDEX).is_file():
        listed = read_json(folder / INDEX).get("weight_map")
        if not isinstance(listed, dict) or not all(isinstance(v, str) for v in listed.values()):
            raise UserError(f"{folder / INDEX}: no weight_map; copy or download it again.")
        shards = sorted(set(listed.values()))
        if missing := [shard for shard in shards if not (folder / shard).is_file()]:
            raise UserError(
                f"{folder}: {len(missing)} of the {len(shards)} files of weights that {INDEX} lists are missing: "
                f"{some(missing)}. Copy or download them."
            )
        found = {name for shard in shards for name in read_header(folder / shard).tensors}
        if absent := sorted(listed.keys() - found):
            raise UserError(
                f"{folder}: {INDEX} lists {len(absent)} tensors that are in none of its files: {some(absent)}. "
                "Download the model again, or save it with save_pretrained()."
            )
        return
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(
            f"{folder}: no *.safetensors file; convert the weights with save_pretrained()."
        )
    for path in files:
        read_header(path)


def some(names: Iterable[str], most: int = 5) -> str:
    """Return the first few names, and the number of further ones."""
    listed = list(names)
    more = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {more} more" if more > 0 else "")
