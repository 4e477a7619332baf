"""LoRA adapters as vLLM serves them: beside the weights, several to one model."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from p2r_bench.engines.model_folder import lora_digest
from p2r_bench.errors import UserError

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM reserves room for."""


@dataclass(frozen=True)
class Adapter:
    """An adapter's folder.

    Attributes:
        digest: Identity of its configuration and weights.
        rank: Largest rank of its matrices.
    """

    folder: str
    digest: str
    rank: int


def read_adapter(folder: str) -> Adapter:
    """What vLLM must know of an adapter.

    Raises:
        UserError: There is none, or it changes parts that vLLM would leave out.
    """
    digest = lora_digest(folder)
    configuration = json.loads((Path(folder) / "adapter_config.json").read_text(encoding="utf-8"))
    patterns = (configuration.get("rank_pattern") or {}).values()
    rank = max([int(configuration.get("r") or 0), *map(int, patterns)])
    advice = (
        "Merge it into the weights with peft's merge_and_unload(), save them, and name that folder with --model; "
        "or use --engine transformers, which merges it."
    )
    if not 1 <= rank <= RANKS[-1]:
        raise UserError(
            f"--engine-arg lora={folder}: rank {rank}; vLLM takes 1 to {RANKS[-1]}. {advice}"
        )
    vision = [name for name in _tensors(Path(folder)) if "visual." in name]
    if vision:
        raise UserError(
            f"--engine-arg lora={folder}: it changes the vision tower ({vision[0]}, …), and vLLM applies adapters "
            f"to the language model only. {advice}"
        )
    return Adapter(str(Path(folder).expanduser().resolve()), digest, rank)


def reserved_rank(adapters: Iterable[Adapter]) -> int:
    """The smallest rank vLLM reserves room for that holds all of the adapters."""
    needed = max(adapter.rank for adapter in adapters)
    return next(rank for rank in RANKS if rank >= needed)


def _tensors(folder: Path) -> list[str]:
    """Names of the tensors in the folder's safetensors files."""
    names: list[str] = []
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(f"--engine-arg lora={folder}: no *.safetensors file there.")
    for path in files:
        try:
            with path.open("rb") as stream:
                (length,) = struct.unpack("<Q", stream.read(8))
                names += json.loads(stream.read(length))
        except (struct.error, ValueError, OverflowError, MemoryError) as error:
            raise UserError(f"{path}: not a safetensors file ({error}).") from error
    return [name for name in names if name != "__metadata__"]
