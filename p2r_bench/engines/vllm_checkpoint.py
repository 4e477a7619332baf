"""Facts of a model folder that the vllm engine needs before vLLM starts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2r_bench.engines.chat_template import chat_template
from p2r_bench.engines.model_files import check_processor_files, read_json
from p2r_bench.engines.model_folder import lora_digest
from p2r_bench.engines.safetensors_file import read_header
from p2r_bench.engines.special_tokens import end_ids
from p2r_bench.errors import UserError
from p2r_bench.families import Budget, Family, family_serving
from p2r_bench.types import Size

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values of vLLM's `max_lora_rank`."""

VISION = ("visual.", "vision", "multi_modal_projector", "image_newline")
"""Parts of the names of tensors outside the language model."""


@dataclass(frozen=True)
class Checkpoint:
    """A model folder's tokenizer, template and limits.

    Attributes:
        name: Name that the user gave the model, for messages.
        image_token: Id of the token that stands for an image in a prompt.
        end_ids: Ids of the tokens that end an answer.
        suppressed_ids: Ids of the tokens that are never sampled.
        longest: Longest prompt and output in tokens that the model was made for.
    """

    folder: Path
    name: str
    family: Family
    tokenizer: Any
    template: str
    image_token: int
    end_ids: tuple[int, ...]
    suppressed_ids: tuple[int, ...]
    longest: int

    def budget(self, max_pixels: int) -> Budget:
        """Return the pixels between which images keep their size.

        Raises:
            UserError: The family cannot work within these limits.
        """
        budget = Budget(self.family.alignment**2, max_pixels)
        if problem := self.family.problem(budget):
            raise UserError(f"--engine-arg max_pixels={max_pixels}: {problem}")
        return budget

    def probe_sizes(self, max_pixels: int, context: int) -> list[Size]:
        """Return image sizes to check at start: the smallest, the largest that fits the context, and long, narrow ones."""
        least = self.family.alignment**2
        while True:
            budget = Budget(least, max_pixels)
            side = math.isqrt(max_pixels)
            shapes = ((1, 1), (side, side), (2 * side, side // 2), (side // 3, 3 * side))
            sizes = {self.family.fit((max(1, w), max(1, h)), budget) for w, h in shapes}
            most = max(self.family.visual_tokens(size) or 0 for size in sizes)
            if most + 128 <= context or self.family.problem(Budget(least, max_pixels // 2)):
                return sorted(sizes, key=lambda size: size[0] * size[1])
            max_pixels //= 2


def read_checkpoint(folder: Path, name: str) -> Checkpoint:
    """Read a model folder's configuration, tokenizer and chat template.

    Raises:
        UserError: No model family serves the model, or a file is missing or unusable.
    """
    import transformers

    check_processor_files(folder)
    try:
        config = transformers.AutoConfig.from_pretrained(folder)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        longest = int(config.get_text_config().max_position_embeddings)
        generation = None
        if (folder / "generation_config.json").is_file():
            generation = transformers.GenerationConfig.from_pretrained(folder)
    except Exception as error:  # the tokenizers library raises plain Exception
        raise UserError(
            f"{name}: transformers {transformers.__version__} cannot read the configuration or the tokenizer in "
            f"{folder}: {error}"
        ) from error
    family = family_serving(config.model_type)
    image_token = getattr(config, "image_token_id", None)
    if family is None or image_token is None:
        raise UserError(
            f"{name}: no model family serves its model_type {config.model_type!r}. Serve the model with `vllm serve` "
            "and use --engine openai, or add a family (docs/plugins)."
        )
    vocabulary = tokenizer.get_vocab()
    never = {vocabulary[token] for token in family.never_sampled if token in vocabulary}
    return Checkpoint(
        folder=folder,
        name=name,
        family=family,
        tokenizer=tokenizer,
        template=chat_template(folder, tokenizer),
        image_token=int(image_token),
        end_ids=end_ids(tokenizer, config, generation),
        suppressed_ids=tuple(sorted(never | {int(image_token)})),
        longest=longest,
    )


def check_tensors(checkpoint: Checkpoint) -> None:
    """Check that every weight of the model is in the checkpoint, and every tensor there has a place in the model.

    vLLM leaves an absent matrix at arbitrary values. transformers loads the folder onto the meta device instead, which
    reads headers only. Quantized checkpoints are not checked.

    Raises:
        UserError: A tensor is missing or has no place; the message lists the tensors.
    """
    import transformers
    from transformers.utils import logging as untyped_logging

    from p2r_bench.engines.weights import check_all_loaded

    folder = checkpoint.folder
    if "quantization_config" in read_json(folder / "config.json"):
        return
    logging: Any = untyped_logging
    automatic: Any = transformers.AutoModelForImageTextToText
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model, info = automatic.from_pretrained(
            folder, device_map="meta", output_loading_info=True, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{checkpoint.name}: transformers {transformers.__version__} cannot read the weights in {folder}: {error}"
        ) from error
    check_all_loaded(model, info, folder, checkpoint.name)


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter's folder.

    Attributes:
        digest: Digest of its configuration and weights.
        rank: Largest rank of its matrices.
    """

    folder: str
    digest: str
    rank: int


def read_adapter(folder: str) -> Adapter:
    """Read an adapter's rank, and check that vLLM applies all of it.

    Raises:
        UserError: The folder holds no adapter, its rank is too high, or it changes the vision tower.
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
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise UserError(f"--engine-arg lora={folder}: no *.safetensors file there.")
    names = [name for path in files for name in read_header(path).tensors]
    if vision := [name for name in names if any(part in name for part in VISION)]:
        raise UserError(
            f"--engine-arg lora={folder}: it changes the vision tower ({vision[0]}, …), and vLLM applies adapters "
            f"to the language model only. {advice}"
        )
    return Adapter(str(Path(folder).expanduser().resolve()), digest, rank)


def reserved_rank(adapters: Iterable[Adapter]) -> int:
    """Return the smallest `max_lora_rank` that holds all of the adapters."""
    needed = max(adapter.rank for adapter in adapters)
    return next(rank for rank in RANKS if rank >= needed)
