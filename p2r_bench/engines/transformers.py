"""The `transformers` engine: a checkpoint in this process."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from p2r_bench.engines.arguments import argument, read_arguments
from p2r_bench.engines.completions import SAID_NOTHING, checked
from p2r_bench.engines.model_folder import check_model_path, lora_digest, model_digest, model_folder
from p2r_bench.errors import EngineError, UserError
from p2r_bench.types import Capabilities, Completion, EngineConfig, Request

if TYPE_CHECKING:
    from PIL import Image

    from p2r_bench.engines.loading import Loaded
    from p2r_bench.engines.processors import PromptBuilder
    from p2r_bench.engines.worker import Worker


@dataclass(frozen=True)
class Arguments:
    """Values of `--engine-arg`."""

    device: str = argument("auto", "cuda, cuda:N, mps or cpu")
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = argument(
        "auto", "precision of the weights"
    )
    attention: Literal["auto", "flash-attn", "sdpa", "eager"] = argument(
        "auto", "attention implementation"
    )
    batch_size: int = argument(32, "most requests that decode together", least=1)
    batch_tokens: int | None = argument(
        None, "most tokens, prompts and outputs, that decode together", least=1, automatic=True
    )
    prefill_tokens: int = argument(32768, "most prompt tokens that decode together", least=1)
    threads: int | None = argument(None, "CPU threads of torch", least=1, automatic=True)
    lora: str | None = argument(
        None, "folder of a LoRA adapter, merged into the weights (needs peft)"
    )


class TransformersEngine:
    """Runs a checkpoint of a known model family with transformers.

    Model: a bundled name, a local folder or a hub id. Sampled requests draw from their own seed, so
    a request's tokens do not depend on the rest of its batch, except for rounding of the logits.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.arguments = read_arguments(Arguments, config.args, "transformers")
        check_model_path(config.model)
        self._loaded: Loaded | None = None
        self._prompts: PromptBuilder | None = None
        self._worker: Worker | None = None
        self._preparing: ThreadPoolExecutor | None = None

    async def identify(self) -> str:
        """Digest of the model's files, and of the adapter's if there is one; see `Engine.identify`."""
        return await asyncio.to_thread(self._identify)

    def _identify(self) -> str:
        digest = model_digest(model_folder(self.config.model, self.config.revision))
        return f"{digest}+{lora_digest(self.arguments.lora)}" if self.arguments.lora else digest

    async def start(self) -> None:
        """Load the model; see `Engine.start`."""
        self._preparing = ThreadPoolExecutor(1, thread_name_prefix="p2r-bench-prompts")
        await asyncio.get_running_loop().run_in_executor(self._preparing, self._load)

    def _load(self) -> None:
        # A second native library's threads beside torch's own would only take its cores.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        # Threads that wait for each other spin by default, and take the processor from those they wait for as soon as
        # another process needs a core. Read when torch is imported.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        try:
            import torch

            from p2r_bench.engines.chat_template import chat_template
            from p2r_bench.engines.generation import Generator
            from p2r_bench.engines.loading import load
            from p2r_bench.engines.processors import PromptBuilder
            from p2r_bench.engines.worker import Worker
        except ImportError as error:
            raise UserError(
                f"The transformers engine cannot be imported ({error}). pip install 'p2r-bench[transformers]'; "
                "or run a server and use --engine openai."
            ) from error
        arguments = self.arguments
        if arguments.threads:
            torch.set_num_threads(arguments.threads)
        folder = model_folder(self.config.model, self.config.revision)
        loaded = load(
            folder,
            self.config.model,
            device=arguments.device,
            dtype=arguments.dtype,
            attention=arguments.attention,
            lora=arguments.lora,
        )
        self._prompts = PromptBuilder(
            loaded.processor,
            chat_template(folder, loaded.tokenizer),
            loaded.family,
            image_id=int(loaded.model.config.image_token_id),
            context=loaded.context,
            dtype=loaded.model.dtype,
        )
        self._prompts.check(self.config.model)
        generator = Generator(
            loaded.model,
            loaded.tokenizer,
            end_ids=loaded.end_ids,
            suppressed_ids=loaded.suppressed_ids,
        )
        self._worker = Worker(
            generator,
            rows=arguments.batch_size,
            tokens=arguments.batch_tokens or _room(loaded.model),
            prompt_tokens=arguments.prefill_tokens,
        )
        self._loaded = loaded

    def capabilities(self) -> Capabilities:
        """All sampling fields, no enforced schemas, and images of any size."""
        if self._loaded is None:
            raise RuntimeError("the engine has not been started")
        arguments = self.arguments
        return Capabilities(
            schema=False,
            # One batch runs while the next is prepared.
            concurrency=2 * arguments.batch_size,
            context_tokens=self._loaded.context,
            factor=self._loaded.family.alignment,
            facts={"engine": "transformers", **self._loaded.facts},
            canaries=("box", "order", "tokens"),  # each request has keys and values of its own
        )

    async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
        """Run one request; see `Engine.generate`."""
        worker, loaded = self._worker, self._loaded
        if worker is None or loaded is None or self._prompts is None or self._preparing is None:
            raise EngineError("the engine is not running", kind="closed")
        if request.schema is not None:
            raise EngineError(
                "the transformers engine enforces no JSON schema",
                kind="unsupported",
                retryable=False,
            )
        from p2r_bench.engines.generation import Row

        begun = time.monotonic()
        with worker.preparing():
            try:
                prompt = await asyncio.get_running_loop().run_in_executor(
                    self._preparing, self._prompts.build, request, images
                )
            except asyncio.CancelledError:
                if self._preparing is None and not _is_cancelled():  # `close` dropped it
                    raise EngineError("the engine was closed", kind="closed") from None
                raise
            prepared = time.monotonic()
            future = worker.submit(Row(prompt, request.sampling), request.priority)
        finished = await asyncio.wrap_future(future)
        row = finished.row
        said_nothing = row.finish == "stop" and set(row.output) <= set(loaded.end_ids)
        completion = Completion(
            text=row.text,
            finish_reason=row.finish or "stop",
            prompt_tokens=prompt.length,
            cached_tokens=0,
            output_tokens=len(row.output),
            visual_tokens=prompt.visual_tokens,
            timings={
                "prepare": prepared - begun,
                "queue": finished.queue_s,
                "engine": finished.engine_s,
            },
            engine={"engine": "transformers", **({SAID_NOTHING: True} if said_nothing else {})},
        )
        return checked(completion, request.id)

    async def close(self) -> None:
        """Stop the worker and free the model; waits for a model that is still loading."""
        preparing, self._preparing = self._preparing, None
        if preparing is not None:
            await asyncio.to_thread(preparing.shutdown, wait=True, cancel_futures=True)
        worker, self._worker = self._worker, None
        if worker is not None:
            await asyncio.to_thread(worker.close)
        loaded, self._loaded, self._prompts = self._loaded, None, None
        if loaded is not None and loaded.model.device.type == "cuda":
            import torch

            del loaded, worker
            with suppress(RuntimeError):  # after a sticky device error every call fails
                torch.cuda.empty_cache()


def _is_cancelled() -> bool:
    """Return whether the current task has been cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _room(model: Any) -> int:
    """Return the number of tokens whose keys and values fit in three fifths of the free CUDA memory; else 2¹⁸."""
    import torch

    if model.device.type != "cuda":
        return 1 << 18
    text = model.config.get_text_config()
    size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    per_token = 2 * text.num_hidden_layers * text.num_key_value_heads * size * model.dtype.itemsize
    free, _ = torch.cuda.mem_get_info(model.device)
    return int(0.6 * free / per_token)
