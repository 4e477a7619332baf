"""Arguments of the vllm engine (`--engine-arg`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from p2r_bench.engines.arguments import argument

CORRUPTING_KV_CACHE = {"fp8_e5m2": "replies of Qwen-VL models are corrupted"}
"""Precisions of keys and values with which vLLM gives wrong replies, and the symptom (vLLM issue 41343)."""

ATTENTION = {
    "flash-attn": "FLASH_ATTN",
    "flashinfer": "FLASHINFER",
    "triton": "TRITON_ATTN",
    "flex": "FLEX_ATTENTION",
}
"""vLLM's names of attention backends."""


@dataclass(frozen=True)
class Arguments:
    """Arguments of the vllm engine."""

    tensor_parallel: int = argument(1, "devices that share one copy of the model", least=1)
    data_parallel: int = argument(1, "copies of the model, each on devices of its own", least=1)
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = argument(
        "auto", "precision of the weights"
    )
    quantization: str | None = argument(
        None, "vLLM's name of a quantization done while loading, such as fp8"
    )
    attention: Literal["auto", "flash-attn", "flashinfer", "triton", "flex"] = argument(
        "auto", "attention backend of the language model"
    )
    kv_cache_dtype: str = argument("auto", "vLLM's name of the precision of keys and values")
    kv_cache_gb: float | None = argument(
        None,
        "GiB of keys and values per device; else what gpu_memory leaves",
        least=0.001,
        automatic=True,
    )
    gpu_memory: float = argument(0.9, "share of a device's memory that vLLM may use", least=0.01)
    max_model_len: int | None = argument(
        None, "most tokens of a prompt and its output", least=1, automatic=True
    )
    max_num_seqs: int = argument(64, "most requests that decode together, per copy", least=1)
    max_batched_tokens: int = argument(8192, "most tokens of one step, per copy", least=1)
    max_pixels: int = argument(4096 * 32**2, "largest image, in pixels", least=1024)
    prefix_caching: bool = argument(
        True, "whether prompts reuse keys and values of the same beginning"
    )
    image_cache_gb: float = argument(
        4.0, "GiB of processed images kept for requests that share them", least=0
    )
    enforce_eager: bool = argument(False, "no compilation and no CUDA graphs: starts faster")
    lora: str | None = argument(None, "folder of a LoRA adapter of the language model")
