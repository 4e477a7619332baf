"""A running vLLM, shared by the engines of a process that need the same weights."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count, cycle
from typing import Any

from p2r_bench.engines.vllm_arguments import ATTENTION, Arguments
from p2r_bench.engines.vllm_checkpoint import Adapter, Checkpoint, reserved_rank
from p2r_bench.errors import UserError

TEXT_ROOM = 4096
"""Tokens reserved for a prompt's text and output when the user sets no context length."""

SHUTDOWN_S = 10.0
"""Seconds that vLLM's processes get to end."""

_lora_ids = count(1)


def prepare_environment() -> None:
    """Set the variables that vLLM reads when it is imported. The user's own values stay."""
    for name, value in {
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",  # standard output is for results
        # Forking a process that has threads may hang it.
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "TOKENIZERS_PARALLELISM": "false",
    }.items():
        os.environ.setdefault(name, value)


def device_name() -> str:
    """Return the name of the first device, or "cpu"."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def choose_dtype(asked: str) -> str:
    """Return float32 on the CPU, bfloat16 on CUDA devices that have it, else float16, as the transformers engine does."""
    import torch

    if asked != "auto":
        return asked
    if not torch.cuda.is_available():
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def engine_arguments(
    checkpoint: Checkpoint,
    arguments: Arguments,
    *,
    dtype: str,
    max_images: int,
    adapters: Sequence[Adapter] = (),
) -> dict[str, Any]:
    """Return the keyword arguments of vLLM's AsyncEngineArgs.

    Args:
        max_images: Most images in one request.
        adapters: All adapters that this vLLM will serve.

    Raises:
        UserError: `max_pixels` is too low for the model family.
    """
    budget = checkpoint.budget(arguments.max_pixels)
    room = max_images * (checkpoint.family.most_visual_tokens(budget) or 0) + TEXT_ROOM
    optional = {
        "attention_backend": ATTENTION.get(arguments.attention),
        "quantization": arguments.quantization,
        "kv_cache_memory_bytes": arguments.kv_cache_gb and int(arguments.kv_cache_gb * 2**30),
        "max_loras": len(adapters) or None,
        "max_lora_rank": reserved_rank(adapters) if adapters else None,
    }
    return {
        "model": str(checkpoint.folder),
        "dtype": dtype,
        "kv_cache_dtype": arguments.kv_cache_dtype,
        "seed": 0,
        "max_model_len": arguments.max_model_len or min(checkpoint.longest, room),
        "max_num_seqs": arguments.max_num_seqs,
        "max_num_batched_tokens": max(arguments.max_batched_tokens, arguments.max_num_seqs),
        "tensor_parallel_size": arguments.tensor_parallel,
        "data_parallel_size": arguments.data_parallel,
        "gpu_memory_utilization": arguments.gpu_memory,
        "enforce_eager": arguments.enforce_eager,
        "enable_prefix_caching": arguments.prefix_caching,
        "enable_lora": bool(adapters),
        "scheduling_policy": "priority",
        "generation_config": "vllm",
        "limit_mm_per_prompt": {"image": max_images, "video": 0},
        # Images arrive at their final size; within the budget the processor leaves them alone.
        "mm_processor_kwargs": checkpoint.family.processor_size(budget),
        "mm_processor_cache_gb": arguments.image_cache_gb,
        "enable_log_requests": False,
        "disable_log_stats": False,  # the source of each request's times
        **{name: value for name, value in optional.items() if value is not None},
    }


@dataclass
class Shared:
    """A running vLLM and the number of engines that use it.

    Attributes:
        llm: The AsyncLLM. It belongs to the event loop in which it was started.
        context: Longest prompt and output in tokens.
        facts: Facts about the engine, recorded per session.
        room: Digests of the adapters that this vLLM can serve.
        copies: Copies of the model.
        adapters: LoRARequest of each loaded adapter, by digest.
    """

    llm: Any
    context: int
    facts: dict[str, Any]
    room: frozenset[str] = frozenset()
    copies: int = 1
    users: int = 0
    adapters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        turns = cycle(range(self.copies))
        self._place = lru_cache(4096)(lambda source: next(turns))

    def rank(self, source: str | None) -> int | None:
        """Return the copy of the model that has an image in its cache, or the next copy for a new image; None lets vLLM
        choose.
        """
        return self._place(source) if self.copies > 1 and source is not None else None

    async def lora_request(self, adapter: Adapter) -> Any:
        """Load an adapter unless it is loaded, and return the LoRARequest that selects it.

        Raises:
            UserError: vLLM cannot load it.
        """
        from vllm.lora.request import LoRARequest

        if adapter.digest not in self.adapters:
            # vLLM's prefix cache tells adapters apart by name.
            request = LoRARequest(adapter.digest, next(_lora_ids), adapter.folder)
            try:
                await self.llm.add_lora(request)
            except Exception as error:
                raise UserError(
                    f"--engine-arg lora={adapter.folder}: vLLM cannot load it: {error}"
                ) from error
            self.adapters[adapter.digest] = request
        return self.adapters[adapter.digest]


_running: dict[tuple[object, ...], Shared] = {}


def acquire(
    key: tuple[object, ...], adapter: Adapter | None, start: Callable[[], Shared]
) -> Shared:
    """Return the running vLLM of a key; start one if there is none or it has no room for the adapter."""
    shared = _running.get(key)
    if shared is None or (adapter is not None and adapter.digest not in shared.room):
        shared = _running[key] = start()
    shared.users += 1
    return shared


def release(shared: Shared) -> None:
    """Decrease the number of users, and stop vLLM after the last one."""
    shared.users -= 1
    if shared.users:
        return
    for key in [key for key, other in _running.items() if other is shared]:
        del _running[key]
    llm = shared.llm
    llm.shutdown(timeout=SHUTDOWN_S)
    # Its destructor calls `shutdown` again when the interpreter has already unloaded modules that it needs.
    llm.shutdown = _stopped


def _stopped(timeout: float | None = None) -> None: ...


def start_vllm(checkpoint: Checkpoint, arguments: Arguments, keywords: dict[str, Any]) -> Shared:
    """Start vLLM in the running event loop, which waits until it is ready.

    Raises:
        UserError: An argument, the device or the model cannot be used.
    """
    import torch
    import transformers
    import vllm
    from vllm import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    device, name = device_name(), checkpoint.name
    if arguments.attention != "auto" and device == "cpu":
        raise UserError(
            f"--engine-arg attention={arguments.attention} cannot be used: on a CPU vLLM has one attention backend of "
            "its own. Leave the argument out."
        )
    try:
        with _interrupts_blocked():
            llm = AsyncLLM.from_engine_args(AsyncEngineArgs(**keywords))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise UserError(f"{name}: vLLM refuses the model or an argument: {_line(error)}") from error
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"{name}: vLLM did not start: {_line(error)} The cause is in its own messages above. Out of memory: a "
            "smaller max_model_len, max_num_seqs or max_pixels; another gpu_memory where several programs or models "
            "share a device; more devices with tensor_parallel. A failing compilation: enforce_eager=yes. (All are "
            "--engine-arg NAME=VALUE.) Weights that are missing or have no place in the model: save the checkpoint "
            "again with save_pretrained()."
        ) from error
    facts = {
        "engine": "vllm",
        "device": device,
        "dtype": str(llm.model_config.dtype).removeprefix("torch."),
        "quantization": llm.model_config.quantization,
        "attention": ATTENTION.get(arguments.attention, "auto"),
        "kv_cache_dtype": arguments.kv_cache_dtype,
        "prefix_caching": arguments.prefix_caching,
        "enforce_eager": arguments.enforce_eager,
        "tensor_parallel": arguments.tensor_parallel,
        "data_parallel": arguments.data_parallel,
        "vllm": vllm.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    return Shared(llm, keywords["max_model_len"], facts, copies=arguments.data_parallel)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Return a context in which started processes do not receive a terminal's Ctrl-C; `close` stops them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _line(error: Exception) -> str:
    """Return an error's text on one line that ends with a full stop."""
    line = " ".join(str(error).split()) or type(error).__name__
    return line if line.endswith(".") else f"{line}."
