"""The `vllm` engine: a checkpoint on vLLM's AsyncLLM, started from this process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from p2r_bench.engines.arguments import read_arguments
from p2r_bench.engines.model_folder import check_model_path, lora_digest, model_digest, model_folder
from p2r_bench.engines.vllm_arguments import CORRUPTING_KV_CACHE, Arguments
from p2r_bench.engines.vllm_checkpoint import (
    Checkpoint,
    check_tensors,
    read_adapter,
    read_checkpoint,
)
from p2r_bench.engines.vllm_requests import Format, lost_image
from p2r_bench.engines.vllm_shared import (
    Shared,
    acquire,
    choose_dtype,
    engine_arguments,
    prepare_environment,
    release,
    start_vllm,
)
from p2r_bench.errors import EngineDead, EngineError, UserError
from p2r_bench.types import Capabilities, Completion, EngineConfig, Request, Size

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)

SENDS = 4
"""Most attempts at a request whose images vLLM's engine process has evicted."""

_made: WeakSet[VLLMEngine] = WeakSet()


class VLLMEngine:
    """Runs a checkpoint with vLLM: one request per call, batched by vLLM.

    Model: a bundled name, a local folder or a hub id. Engines of one event loop that differ in nothing but `lora`
    share one vLLM.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.arguments = read_arguments(Arguments, config.args, "vllm")
        check_model_path(config.model)
        if self.arguments.gpu_memory > 1:
            raise UserError(f"--engine-arg gpu_memory={self.arguments.gpu_memory}: at most 1.")
        self._shared: Shared | None = None
        self._format: Format | None = None
        self._lora: Any = None
        self._tokenizing: ThreadPoolExecutor | None = None
        self._numbers = count()
        _made.add(self)

    async def identify(self) -> str:
        """Digest of the model's files, and of the adapter's if there is one; see `Engine.identify`."""
        return await asyncio.to_thread(self._identify)

    def _identify(self) -> str:
        digest = model_digest(model_folder(self.config.model, self.config.revision))
        return f"{digest}+{lora_digest(self.arguments.lora)}" if self.arguments.lora else digest

    @property
    def _key(self) -> tuple[object, ...]:
        """Key that is equal for engines that one vLLM can serve."""
        config = self.config
        base = replace(self.arguments, lora=None)
        return (config.model, config.revision, base, config.max_images)

    async def start(self) -> None:
        """Start vLLM, or join the one that runs these weights already; see `Engine.start`."""
        prepare_environment()
        _made.add(self)
        dtype = self.arguments.kv_cache_dtype
        if dtype in CORRUPTING_KV_CACHE:
            log.warning(
                "--engine-arg kv_cache_dtype=%s: %s; leave it out, or use fp8_e4m3. The manifest records it",
                *(dtype, CORRUPTING_KV_CACHE[dtype]),
            )
        try:
            import accelerate  # noqa: F401
            import vllm  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"The vllm engine cannot be imported ({error}). pip install 'p2r-bench[vllm]', on Linux with a device "
                "that vLLM supports; or run a server and use --engine openai."
            ) from error
        folder = await asyncio.to_thread(model_folder, self.config.model, self.config.revision)
        checkpoint = await asyncio.to_thread(read_checkpoint, folder, self.config.model)
        lora = self.arguments.lora
        adapter = await asyncio.to_thread(read_adapter, lora) if lora else None
        self._tokenizing = ThreadPoolExecutor(1, thread_name_prefix="p2r-bench-prompts")
        key = (*self._key, asyncio.get_running_loop())
        self._shared = acquire(key, adapter, lambda: self._start_vllm(checkpoint))
        self._format = Format(checkpoint, self._shared.context)
        if adapter is not None:
            self._lora = await self._shared.lora_request(adapter)
        await self._check_sizes()

    def _start_vllm(self, checkpoint: Checkpoint) -> Shared:
        # All engines of a run are made before the first one starts, so the adapters of all are known.
        folders = {e.arguments.lora for e in _made if e._key == self._key} - {None}
        adapters = {a.digest: a for a in map(read_adapter, sorted(filter(None, folders)))}
        check_tensors(checkpoint)
        keywords = engine_arguments(
            checkpoint,
            self.arguments,
            dtype=choose_dtype(self.arguments.dtype),
            max_images=self.config.max_images,
            adapters=list(adapters.values()),
        )
        shared = start_vllm(checkpoint, self.arguments, keywords)
        shared.room = frozenset(adapters)
        return shared

    async def _check_sizes(self) -> None:
        """Check, by counts of visual tokens, that vLLM's processor does not resize images of the family's sizes.

        Raises:
            UserError: The processor resizes an image whose size the family keeps.
        """
        assert self._format is not None
        checkpoint, most = self._format.checkpoint, self.arguments.max_pixels
        for width, height in checkpoint.probe_sizes(most, self._format.context):
            counted = await self._count((width, height))
            expected = checkpoint.family.visual_tokens((width, height))
            if counted == expected:
                continue
            problem = (
                f"{self.config.model}: vLLM makes {counted} visual tokens of an image of {width}×{height} pixels, and "
                f"at this size the family {checkpoint.family.name} has {expected}: its processor resizes images"
            )
            if checkpoint.family.settles:
                raise UserError(
                    f"{problem}, so the recorded pixels could not be guaranteed. Try a smaller --engine-arg max_pixels, "
                    "or --engine transformers."
                )
            log.warning("%s. The run records both counts; --engine transformers may agree", problem)
            return

    async def _count(self, size: Size) -> int:
        """Return the number of visual tokens that vLLM makes of an image of this size."""
        from PIL import Image

        assert self._shared is not None and self._format is not None
        parts = [{"type": "image"}, {"type": "text", "text": "?"}]
        prompt = {
            "prompt_token_ids": self._format.tokens([{"role": "user", "content": parts}]),
            "multi_modal_data": {"image": [Image.new("RGB", size)]},
        }
        (rendered,) = await self._shared.llm.renderer.render_cmpl_async(
            [prompt], skip_mm_cache=True
        )
        return self._format.image_tokens(rendered)

    def capabilities(self) -> Capabilities:
        """All sampling fields, enforced schemas, and images of the family's sizes up to `max_pixels`."""
        if self._shared is None or self._format is None:
            raise RuntimeError("the engine has not been started")
        arguments, family = self.arguments, self._format.checkpoint.family
        return Capabilities(
            schema=True,
            concurrency=arguments.max_num_seqs * arguments.data_parallel,
            context_tokens=self._format.context,
            max_pixels=arguments.max_pixels,
            factor=family.alignment if family.settles else None,
            facts=self._shared.facts,
            canaries=("box", "order", "tokens", "images", "cache"),
        )

    async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
        """Run one request; see `Engine.generate`."""
        if self._shared is None or self._format is None or self._tokenizing is None:
            raise EngineError("the engine is not running", kind="closed")
        from vllm.exceptions import VLLMClientError

        begun = time.monotonic()
        form, shared = self._format, self._shared
        prompt = await asyncio.get_running_loop().run_in_executor(
            self._tokenizing, form.prompt, request, images
        )
        try:
            output, visual = await self._output(shared, form, request, prompt)
        except EngineError:
            raise
        except VLLMClientError as error:
            raise EngineError(
                f"{request.id}: vLLM refuses it: {error}", kind="refused", retryable=False
            ) from error
        except Exception as error:
            if shared.llm.errored:
                raise EngineDead(
                    "vLLM's engine process has died; its own messages above say why"
                ) from error
            cause = error.__cause__ or error
            raise EngineError(f"{request.id}: vLLM failed: {cause!r}", kind="model") from error
        return form.completion(request, output, visual, begun)

    async def _output(
        self, shared: Shared, form: Format, request: Request, prompt: dict[str, Any]
    ) -> tuple[Any, int]:
        """Return vLLM's final output, and its count of visual tokens."""
        recipes = request.recipes
        rank = shared.rank(recipes[0].source if recipes else None)
        for _ in range(SENDS):
            # The renderer is vLLM's documented input path; it processes images in threads of its own.
            (rendered,) = await shared.llm.renderer.render_cmpl_async([prompt])
            visual = form.check_rendered(request, rendered)
            (output,) = [
                output
                async for output in shared.llm.generate(
                    rendered,
                    form.sampling(request),
                    f"{request.id}:{next(self._numbers)}",
                    lora_request=self._lora,
                    priority=request.priority,
                    data_parallel_rank=rank,
                )
            ]
            if not lost_image(output):
                break
        return output, visual

    async def close(self) -> None:
        """Stop vLLM, unless another engine of this process uses it."""
        shared, self._shared, self._format, self._lora = self._shared, None, None, None
        _made.discard(self)
        if self._tokenizing is not None:
            self._tokenizing.shutdown(wait=False, cancel_futures=True)
            self._tokenizing = None
        if shared is not None:
            release(shared)
