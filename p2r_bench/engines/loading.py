"""A checkpoint in memory: model, processor, end tokens and suppressed tokens."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForImageTextToText, ProcessorMixin
from transformers.utils import logging as _transformers_logging

from p2r_bench.engines.attention import Attention, choose_attention
from p2r_bench.engines.model_files import check_processor_files
from p2r_bench.engines.processors import load_processor
from p2r_bench.engines.safetensors_file import read_header
from p2r_bench.engines.special_tokens import end_ids, suppressed_ids
from p2r_bench.engines.weights import check_adapter_loaded, check_all_loaded, check_finite
from p2r_bench.errors import UserError
from p2r_bench.families import Family, family_serving


@dataclass(frozen=True)
class Loaded:
    """A loaded model with its processor, special tokens and limits.

    Attributes:
        family: The model family that serves the checkpoint's `model_type`.
        end_ids: Tokens that end an answer, from the tokenizer, the configuration and the generation configuration.
        suppressed_ids: Tokens that are never sampled.
        context: Longest prompt and output in tokens.
    """

    model: Any
    processor: ProcessorMixin
    family: Family
    end_ids: tuple[int, ...]
    suppressed_ids: tuple[int, ...]
    context: int
    facts: dict[str, str]

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer


def load(
    folder: Path, name: str, *, device: str, dtype: str, attention: Attention, lora: str | None
) -> Loaded:
    """Load a model folder.

    Args:
        name: Name that the user gave, for messages.
        device, dtype: "auto", or torch's names.

    Raises:
        UserError: Device, dtype, attention or architecture cannot be used, no model family serves the checkpoint, or
            not all weights load.
    """
    check_processor_files(folder)
    where = choose_device(device)
    precision = choose_dtype(dtype, where)
    with _quietly():
        try:
            config = AutoConfig.from_pretrained(folder)
            model_class: Any = AutoModelForImageTextToText._model_mapping[type(config)]
        except (KeyError, ValueError, OSError) as error:
            raise UserError(
                f"{name}: not an image-text-to-text model that transformers {transformers.__version__} knows: {error}"
            ) from error
        family = family_serving(config.model_type)
        if family is None:
            raise UserError(
                f"{name}: no model family serves its model_type {config.model_type!r} (`p2r-bench plugins` lists the "
                "families). Serve the model with an OpenAI-compatible server and use --engine openai, or register a "
                "family."
            )
        implementation = choose_attention(
            attention, device=where, dtype=precision, model_class=model_class
        )
        try:
            model, info = model_class.from_pretrained(
                folder,
                config=config,
                dtype=getattr(torch, precision),
                attn_implementation=implementation,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported in `info`, and refused there by name
            )
            check_all_loaded(model, info, folder, name)
            if lora:
                model = _with_lora(model, lora)
            model.to(where).eval()
            check_finite(model, folder, name, precision)
        except (OSError, ValueError, RuntimeError, AssertionError) as error:
            raise UserError(
                f"{name}: the weights in {folder} cannot be loaded on {where}: {error}"
            ) from error
        processor = load_processor(folder, config, name)
    tokenizer = processor.tokenizer
    return Loaded(
        model=model,
        processor=processor,
        family=family,
        end_ids=end_ids(tokenizer, config, model.generation_config),
        suppressed_ids=suppressed_ids(tokenizer, config, family.never_sampled),
        context=int(config.get_text_config().max_position_embeddings),
        facts={
            "device": torch.cuda.get_device_name(where) if where.startswith("cuda") else where,
            "dtype": precision,
            "attention": implementation,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    )


def choose_device(asked: str) -> str:
    """Return the requested device, or the first available of cuda, mps and cpu."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if asked == "auto":
        return next(name for name, there in available.items() if there)
    kind, _, index = asked.partition(":")
    if not available.get(kind, False) or (
        kind == "cuda" and int(index or 0) >= torch.cuda.device_count()
    ):
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise UserError(f"--engine-arg device={asked}: not on this machine, which has {there}.")
    return asked


def choose_dtype(asked: str, device: str) -> str:
    """Return the requested dtype. "auto" is bfloat16 on CUDA if supported, else float16; float16 on mps; float32 on the
    CPU.
    """
    if asked != "auto":
        return asked
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    return "float16" if device == "mps" else "float32"


def _with_lora(model: Any, path: str) -> Any:
    """Return the model with a LoRA adapter merged into its weights."""
    try:
        peft: Any = importlib.import_module("peft")
    except ImportError as error:
        raise UserError(
            f"--engine-arg lora={path} needs peft: pip install 'p2r-bench[lora]'"
        ) from error
    adapted = peft.PeftModel.from_pretrained(model, path)
    files = sorted(Path(path).glob("adapter_model*.safetensors"))
    found = [name for file in files for name in read_header(file).tensors]
    if found:
        check_adapter_loaded(peft.get_peft_model_state_dict(adapted), found, path)
    return adapted.merge_and_unload()


@contextmanager
def _quietly() -> Iterator[None]:
    """Return a context without progress bars and without the loading report, which `check_all_loaded` replaces."""
    transformers_logging: Any = _transformers_logging
    shown = transformers_logging.is_progress_bar_enabled()
    level = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if shown:
            transformers_logging.enable_progress_bar()
