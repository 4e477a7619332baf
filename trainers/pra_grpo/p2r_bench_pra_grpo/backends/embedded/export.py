"""A stage's result as a Hugging Face folder, like that of the start model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from p2r_bench.atomic import sync_folder
from p2r_bench.errors import UserError
from p2r_bench.models import TEXT_FILES
from p2r_bench_pra_grpo.backends.embedded.loading import load


def write_model(start: Path, parameters: Mapping[str, Tensor], target: Path) -> None:
    """Write the start model with trained parameters, in the precision of its own weights, replacing `target`
    atomically.

    Args:
        start: Folder whose configuration, tokenizer and chat template are taken over.
        parameters: Trained parameters by name in the model.

    Raises:
        UserError: The folder cannot be written, or the model lacks a parameter.
    """
    loaded = load(start, device="cpu", dtype=_dtype(start))
    own = dict(loaded.model.named_parameters())
    unknown = sorted(set(parameters) - set(own))
    if unknown:
        raise UserError(f"{start}: has no parameter {unknown[0]}, which was trained")
    for name, values in parameters.items():
        own[name].data.copy_(values)
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        loaded.model.save_pretrained(beside)
        for name in TEXT_FILES:
            if (start / name).is_file() and name != "config.json":
                shutil.copyfile(start / name, beside / name)
        for path in (*beside.iterdir(), beside):
            _sync(path)
        shutil.rmtree(target, ignore_errors=True)
        beside.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _dtype(folder: Path) -> str:
    """Return the precision of the folder's first tensor, by torch's name."""
    names = {"F16": "float16", "BF16": "bfloat16"}
    first = sorted(folder.glob("*.safetensors"))[0]
    with safe_open(first, "pt") as file:
        name = next(iter(file.keys()))
        return names.get(file.get_slice(name).get_dtype(), "float32")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
