"""A checkpoint of the Qwen3-VL family in memory, with the patches of its images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoImageProcessor

from p2r_bench.engines import loading
from p2r_bench.errors import UserError
from p2r_bench_pra_grpo.backends.embedded.patches import Patches, patches_of


@dataclass(frozen=True)
class Loaded:
    """A model, its tokenizer and its rules.

    Attributes:
        end_ids: Tokens that end an answer.
        suppressed_ids: Tokens that are never sampled.
        context: Longest prompt and output in tokens.
    """

    model: Any
    tokenizer: Any
    patches: Patches
    end_ids: tuple[int, ...]
    suppressed_ids: tuple[int, ...]
    context: int


def load(folder: Path, *, device: str, dtype: str) -> Loaded:
    """Load a model folder.

    Args:
        device, dtype: "auto", or torch's names.

    Raises:
        UserError: Device, dtype or architecture cannot be used, or not all weights load.
    """
    name = str(folder)
    found = loading.load(folder, name, device=device, dtype=dtype, attention="auto", lora=None)
    patches = patches_of(_image_processor(folder), name)
    vision = found.model.config.vision_config
    if not hasattr(found.model.base_model, "get_rope_index") or (
        (vision.patch_size, vision.spatial_merge_size) != (patches.patch, patches.merge)
    ):
        raise UserError(
            f"{name}: {type(found.model).__name__} is not of the Qwen3-VL family, the only one that this trainer's "
            "embedded backend trains; use the verl backend."
        )
    return Loaded(
        model=found.model,
        tokenizer=found.tokenizer,
        patches=patches,
        end_ids=found.end_ids,
        suppressed_ids=found.suppressed_ids,
        context=found.context,
    )


def _image_processor(folder: Path) -> Any:
    automatic: Any = AutoImageProcessor
    try:
        return automatic.from_pretrained(folder)
    except ImportError:  # earlier releases insist on torchvision
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
            Qwen2VLImageProcessorPil,
        )

        return Qwen2VLImageProcessorPil.from_pretrained(folder)
