"""A running vLLM for a model folder: arguments, checks, start."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2r_bench.engines.vllm_arguments import Arguments
from p2r_bench.engines.vllm_lora import Adapter, reserved_rank
from p2r_bench.errors import UserError

ATTENTION = {
    "flash-attn": "FLASH_ATTN",
    "flashinfer": "FLASHINFER",
    "triton": "TRITON_ATTN",
    "flex": "FLEX_ATTENTION",
}
"""Our names of attention backends to vLLM's."""

TEXT_ROOM = 4096
"""Tokens kept for the text of a prompt and its output when the context length is chosen here."""


@dataclass(frozen=True)
class Checkpoint:
    """What a model folder says of itself.

    Attributes:
        factor: Side in pixels of the square that becomes one visual token.
        longest: Most tokens that the model was made for.
    """

    folder: Path
    name: str
    config: Any
    factor: int
    longest: int


def prepare_environment() -> None:
    """Settings that vLLM reads from the environment when it is imported; what the user has set stays."""
    for name, value in {
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",  # standard output is for results
        # Forking a process that has threads may hang it.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "TOKENIZERS_PARALLELISM": "false",
    }.items():
        os.environ.setdefault(name, value)


def read_checkpoint(folder: Path, name: str) -> Checkpoint:
    """Configuration of a model folder.

    Args:
        name: What the user called it, for messages.

    Raises:
        UserError: It is not of the Qwen3-VL family.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder)
        vision = config.vision_config
        factor = int(vision.patch_size) * int(vision.spatial_merge_size)
        _ = (config.image_token_id, config.video_token_id, config.vision_start_token_id)
        longest = int(config.get_text_config().max_position_embeddings)
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise UserError(
            f"{name}: not of the Qwen3-VL family, the only one that the vllm engine runs ({error}). Serve the model "
            "with `vllm serve` and use --engine openai --engine-arg pixels=unchecked."
        ) from error
    return Checkpoint(folder, name, config, factor, longest)


def choose_dtype(asked: str) -> str:
    """float32 on the CPU, else bfloat16 where the device has it, else float16: the transformers engine's rule."""
    import torch
    from vllm.platforms import current_platform

    if asked != "auto":
        return asked
    if current_platform.is_cpu():
        return "float32"
    return "bfloat16" if torch.bfloat16 in current_platform.supported_dtypes else "float16"


def engine_arguments(
    checkpoint: Checkpoint,
    arguments: Arguments,
    *,
    dtype: str,
    max_images: int,
    adapters: Sequence[Adapter] = (),
) -> dict[str, Any]:
    """Keyword arguments of vLLM's AsyncEngineArgs.

    Args:
        max_images: Most images one request holds.
        adapters: All that this vLLM will serve.
    """
    area = checkpoint.factor**2
    room = max_images * (arguments.max_pixels // area) + TEXT_ROOM
    chosen = {
        "attention_backend": ATTENTION.get(arguments.attention),
        "quantization": arguments.quantization,
        "max_num_batched_tokens": arguments.max_batched_tokens,
        "kv_cache_memory_bytes": arguments.kv_cache_gb and int(arguments.kv_cache_gb * 2**30),
    }
    lora = {
        "enable_lora": True,
        "max_loras": len(adapters),
        "max_lora_rank": reserved_rank(adapters) if adapters else None,
    }
    return {
        "model": str(checkpoint.folder),
        "dtype": dtype,
        "kv_cache_dtype": arguments.kv_cache_dtype,
        "seed": 0,
        "max_model_len": arguments.max_model_len or min(checkpoint.longest, room),
        "max_num_seqs": arguments.max_num_seqs,
        "tensor_parallel_size": arguments.tensor_parallel,
        "data_parallel_size": arguments.data_parallel,
        "gpu_memory_utilization": arguments.gpu_memory,
        "enforce_eager": arguments.enforce_eager,
        "enable_prefix_caching": arguments.prefix_caching,
        "scheduling_policy": "priority",
        "generation_config": "vllm",
        "limit_mm_per_prompt": {"image": max_images, "video": 0},
        # Images come at their final size; between these limits the family's rule leaves them alone.
        "mm_processor_kwargs": {
            "size": {"shortest_edge": area, "longest_edge": arguments.max_pixels}
        },
        "mm_processor_cache_gb": arguments.image_cache_gb,
        "enable_log_requests": False,
        "disable_log_stats": False,  # the times of each request come from there
        **{name: value for name, value in chosen.items() if value is not None},
        **(lora if adapters else {}),
    }


@dataclass(frozen=True)
class Running:
    """A vLLM that runs.

    Attributes:
        llm: An AsyncLLM of the event loop in which it was started.
        context: Longest prompt and output in tokens.
        facts: Recorded per session.
    """

    llm: Any
    context: int
    facts: dict[str, Any]


def start(checkpoint: Checkpoint, arguments: Arguments, keywords: dict[str, Any]) -> Running:
    """Start vLLM in the running event loop, which waits meanwhile.

    Raises:
        UserError: An argument, the device or the model cannot be used.
    """
    from vllm.config import set_current_vllm_config
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.async_llm import AsyncLLM

    try:
        # Its defaults for offline work: larger steps than a server's.
        config = AsyncEngineArgs(**keywords).create_engine_config(UsageContext.LLM_CLASS)
    except (TypeError, ValueError, RuntimeError, NotImplementedError, OSError) as error:
        raise UserError(
            f"{checkpoint.name}: vLLM refuses these arguments: {_text(error)}"
        ) from error
    with set_current_vllm_config(config):
        attention, vision_attention = _attention(arguments.attention, config)
    try:
        with _interrupts_for_this_process_only():
            llm = AsyncLLM.from_vllm_config(config)
    except (RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f"{checkpoint.name}: vLLM did not start: {_text(error)} The cause is in its own messages above. Out of "
            "memory: a smaller max_model_len, max_num_seqs or max_pixels; another gpu_memory where several programs "
            "or models share a device; more devices with tensor_parallel. A failing compilation: enforce_eager=yes. "
            "(All are --engine-arg NAME=VALUE.)"
        ) from error
    facts = {**_facts(config), "attention": attention, "vision_attention": vision_attention}
    return Running(llm, int(config.model_config.max_model_len), facts)


@contextmanager
def _interrupts_for_this_process_only() -> Iterator[None]:
    """A terminal's Ctrl-C goes to all processes; those started here are to be stopped by this one, when it is ready."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _attention(asked: str, config: Any) -> tuple[str, str]:
    """vLLM's names of the attention backends of the language model and of the vision tower.

    Raises:
        UserError: One was asked for by name and cannot run here; says why.
    """
    from vllm.platforms import current_platform
    from vllm.v1.attention.selector import get_attn_backend

    model = config.model_config
    advice = "Leave the argument out to use the best that is available."
    try:
        backend = get_attn_backend(
            model.get_head_size(),
            model.dtype,
            config.cache_config.cache_dtype,
            num_heads=model.get_num_attention_heads(config.parallel_config),
        )
    except (ValueError, ImportError, NotImplementedError) as error:
        raise UserError(
            f"--engine-arg attention={asked} cannot be used: {_text(error)} {advice}"
        ) from error
    name = str(backend.get_name())
    if asked != "auto" and name != ATTENTION[asked]:
        raise UserError(
            f"--engine-arg attention={asked} cannot be used: on {_device()} vLLM runs {name} instead. {advice}"
        )
    vision = model.hf_config.vision_config
    tower = current_platform.get_vit_attn_backend(
        vision.hidden_size // vision.num_heads,
        model.dtype,
        config.model_config.multimodal_config.mm_encoder_attn_backend,
    )
    return name, str(tower.name)


def _facts(config: Any) -> dict[str, Any]:
    import torch
    import transformers
    import vllm

    model, parallel = config.model_config, config.parallel_config
    return {
        "engine": "vllm",
        "device": _device(),
        "dtype": str(model.dtype).removeprefix("torch."),
        "quantization": model.quantization,
        "kv_cache_dtype": config.cache_config.cache_dtype,
        "prefix_caching": bool(config.cache_config.enable_prefix_caching),
        "enforce_eager": bool(model.enforce_eager),
        "tensor_parallel": parallel.tensor_parallel_size,
        "data_parallel": parallel.data_parallel_size,
        "vllm": vllm.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _device() -> str:
    from vllm.platforms import current_platform

    return "cpu" if current_platform.is_cpu() else str(current_platform.get_device_name())


def _text(error: Exception) -> str:
    """An error on one line that ends with a full stop."""
    line = " ".join(str(error).split()) or type(error).__name__
    return line if line.endswith(".") else f"{line}."
