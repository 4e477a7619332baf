"""A checkpoint of the Qwen3-VL family in memory: model, tokenizer, image rule, end and forbidden tokens."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer
from transformers.utils import logging as _transformers_logging

from p2r_bench.engines.attention import Attention, choose_attention
from p2r_bench.engines.model_files import check_processor_files
from p2r_bench.engines.patches import Patches, patches_of
from p2r_bench.engines.safetensors_file import read_header
from p2r_bench.engines.special_tokens import end_ids, suppressed_ids
from p2r_bench.engines.weights import check_adapter_loaded, check_all_loaded
from p2r_bench.errors import UserError


@dataclass(frozen=True)
class Loaded:
    """What the engine needs of a checkpoint.

    Attributes:
        end_ids: Tokens that end an answer: those of the tokenizer, the configuration and the generation
            configuration, of which nothing else is used.
        suppressed_ids: Tokens that are never sampled.
        context: Longest prompt and output in tokens.
    """

    model: Any
    tokenizer: Any
    patches: Patches
    end_ids: tuple[int, ...]
    suppressed_ids: tuple[int, ...]
    context: int
    facts: dict[str, str]


def load(
    folder: Path, name: str, *, device: str, dtype: str, attention: Attention, lora: str | None
) -> Loaded:
    """Load a model folder.

    Args:
        name: What the user called it, for messages.
        device, dtype: "auto", or torch's names.

    Raises:
        UserError: Device, dtype, attention or architecture cannot be used, or not all weights load.
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
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{name}: the weights in {folder} cannot be loaded on {where}: {error}"
            ) from error
        tokenizer = _tokenizer(folder, name)
        patches = patches_of(_image_processor(folder, name), name)
    _check_family(model, patches, name)
    return Loaded(
        model=model,
        tokenizer=tokenizer,
        patches=patches,
        end_ids=end_ids(tokenizer, config, model.generation_config),
        suppressed_ids=suppressed_ids(tokenizer, config),
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
    """The device that is there: cuda, then mps, then cpu; or the one asked for."""
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
    """bfloat16 on CUDA devices that have it, else float16; float16 on mps; float32 on the CPU."""
    if asked != "auto":
        return asked
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    return "float16" if device == "mps" else "float32"


def _tokenizer(folder: Path, name: str) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # the tokenizers library raises plain Exception
        raise UserError(
            f"{name}: the tokenizer in {folder} cannot be loaded: {error}. Copy tokenizer.json and "
            "tokenizer_config.json from the model that this one was made from."
        ) from error


def _image_processor(folder: Path, name: str) -> Any:
    automatic: Any = AutoImageProcessor
    try:
        return automatic.from_pretrained(folder)
    except ImportError:
        # Earlier releases insist on torchvision, which this engine does without.
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
            Qwen2VLImageProcessorPil,
        )

        return Qwen2VLImageProcessorPil.from_pretrained(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{name}: the image processor in {folder} cannot be loaded: {error}. Copy "
            "preprocessor_config.json from the model that this one was made from."
        ) from error


def _with_lora(model: Any, path: str) -> Any:
    """The model with a LoRA adapter merged into its weights."""
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


def _check_family(model: Any, patches: Patches, name: str) -> None:
    vision = getattr(model.config, "vision_config", None)
    model_rule = (getattr(vision, "patch_size", None), getattr(vision, "spatial_merge_size", None))
    if not hasattr(model.base_model, "get_rope_index") or None in model_rule:
        raise UserError(
            f"{name}: {type(model).__name__} is not of the Qwen3-VL family, the only one that the transformers "
            "engine runs. Serve the model with an OpenAI-compatible server and use --engine openai."
        )
    if model_rule != (patches.patch, patches.merge):
        raise UserError(
            f"{name}: its image processor makes patches of {patches.patch} pixels and merges {patches.merge}, and "
            f"its vision tower takes {model_rule[0]} and {model_rule[1]}. Copy preprocessor_config.json from the "
            "model that this one was made from."
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """Without progress bars, and without the loading report, which `check_all_loaded` replaces."""
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
