"""The `vllm` engine: a checkpoint on vLLM's AsyncLLM, started from this process."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from p2r_bench.engines.arguments import read_arguments
from p2r_bench.engines.model_files import check_processor_files
from p2r_bench.engines.model_folder import lora_digest, model_digest, model_folder
from p2r_bench.engines.vllm_arguments import CORRUPTING_KV_CACHE, Arguments
from p2r_bench.engines.vllm_lora import Adapter, read_adapter
from p2r_bench.engines.vllm_requests import lost_image
from p2r_bench.errors import EngineDead, EngineError, UserError
from p2r_bench.types import Capabilities, Completion, EngineConfig, Request

if TYPE_CHECKING:
    from PIL import Image

    from p2r_bench.engines.vllm_requests import Format
    from p2r_bench.engines.vllm_sharing import Shared
    from p2r_bench.engines.vllm_starting import Running

log = logging.getLogger(__name__)

SENDINGS = 4
"""How often a request is sent whose images vLLM's engine process has dropped from its cache."""

_made: WeakSet[VLLMEngine] = WeakSet()


class VLLMEngine:
    """Runs a Qwen3-VL checkpoint with vLLM: one request per call, which vLLM batches as it likes.

    Model: a bundled name, a local folder or a hub id. Engines of the same event loop that differ in
    nothing but `lora` share one vLLM.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.arguments = read_arguments(Arguments, config.args, "vllm")
        if self.arguments.gpu_memory > 1:
            raise UserError(f"--engine-arg gpu_memory={self.arguments.gpu_memory}: at most 1.")
        self._shared: Shared | None = None
        self._format: Format | None = None
        self._lora: Any = None
        self._preparing: ThreadPoolExecutor | None = None
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
        """Equal for engines that one vLLM can serve."""
        config = self.config
        base = replace(self.arguments, lora=None)
        return (config.model, config.revision, base, config.max_images)

    async def start(self) -> None:
        """Start vLLM, or join the one that runs these weights already; see `Engine.start`."""
        from p2r_bench.engines.vllm_starting import prepare_environment

        prepare_environment()
        _made.add(self)
        dtype = self.arguments.kv_cache_dtype
        if dtype in CORRUPTING_KV_CACHE:
            log.warning(
                "--engine-arg kv_cache_dtype=%s: %s; leave it out, or take fp8_e4m3. The manifest records it",
                *(dtype, CORRUPTING_KV_CACHE[dtype]),
            )
        try:
            import transformers
            import vllm  # noqa: F401

            from p2r_bench.engines import vllm_sharing as sharing
            from p2r_bench.engines.prompt_text import PromptText, chat_template
            from p2r_bench.engines.special_tokens import end_ids, suppressed_ids
            from p2r_bench.engines.vllm_requests import Format
            from p2r_bench.engines.vllm_starting import read_checkpoint
        except ImportError as error:
            raise UserError(
                f"The vllm engine cannot be imported ({error}). pip install 'p2r-bench[vllm]', on Linux with a device "
                "that vLLM supports; or run a server and use --engine openai."
            ) from error
        folder = await asyncio.to_thread(model_folder, self.config.model, self.config.revision)
        check_processor_files(folder)
        checkpoint = read_checkpoint(folder, self.config.model)
        lora = self.arguments.lora
        adapter = await asyncio.to_thread(read_adapter, lora) if lora else None
        self._preparing = ThreadPoolExecutor(1, thread_name_prefix="p2r-bench-prompts")
        self._shared = sharing.enter(
            (*self._key, asyncio.get_running_loop()),
            adapter,
            lambda: self._begin(checkpoint),
        )
        if adapter is not None:
            try:
                self._lora = await self._shared.lora_request(adapter)
            except Exception as error:
                raise UserError(
                    f"--engine-arg lora={lora}: vLLM cannot load it: {error}"
                ) from error
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        generation = (
            transformers.GenerationConfig.from_pretrained(folder)
            if (folder / "generation_config.json").is_file()
            else None
        )
        config = checkpoint.config
        self._format = Format(
            text=PromptText(tokenizer, chat_template(folder, tokenizer), config.image_token_id),
            factor=checkpoint.factor,
            context=self._shared.running.context,
            end_ids=end_ids(tokenizer, config, generation),
            suppressed_ids=suppressed_ids(tokenizer, config),
        )
        await self._check_pixels()

    def _begin(self, checkpoint: Any) -> tuple[Running, frozenset[str], int]:
        from p2r_bench.engines import vllm_starting as starting

        # Roles are made before any of them starts: room for the adapters of all.
        adapters: dict[str, Adapter] = {}
        for engine in _made:
            if engine._key == self._key and (lora := engine.arguments.lora):
                adapter = read_adapter(lora)
                adapters[adapter.digest] = adapter
        keywords = starting.engine_arguments(
            checkpoint,
            self.arguments,
            dtype=starting.choose_dtype(self.arguments.dtype),
            max_images=self.config.max_images,
            adapters=list(adapters.values()),
        )
        running = starting.start(checkpoint, self.arguments, keywords)
        return running, frozenset(adapters), self.arguments.data_parallel

    async def _check_pixels(self) -> None:
        """vLLM's own processor must leave the smallest and the largest image alone.

        Raises:
            UserError: It resizes one.
        """
        from PIL import Image

        assert self._shared is not None and self._format is not None
        factor, image_id = self._format.factor, self._format.text.image_id
        most = min(self.arguments.max_pixels // factor**2, self._format.context - 1)
        rows = math.isqrt(most)
        for across, down in ((1, 1), (most // rows, rows)):
            image = Image.new("RGB", (across * factor, down * factor))
            (prompt,) = await self._shared.running.llm.renderer.render_cmpl_async(
                [{"prompt_token_ids": [image_id], "multi_modal_data": {"image": [image]}}],
                skip_mm_cache=True,
            )
            counted = self._format.image_tokens(prompt)
            if counted != across * down:
                raise UserError(
                    f"{self.config.model}: vLLM makes {counted} visual tokens of an image of {image.width}×{image.height} "
                    f"pixels, and at its own size it has {across * down}: its processor resizes images, so the recorded "
                    "pixels could not be guaranteed. A smaller --engine-arg max_pixels may help; so does --engine transformers."
                )

    def capabilities(self) -> Capabilities:
        """Every sampling field, and schemas; images between one visual token and `max_pixels`."""
        if self._shared is None or self._format is None:
            raise RuntimeError("the engine has not been started")
        arguments, factor = self.arguments, self._format.factor
        return Capabilities(
            schema=True,
            concurrency=arguments.max_num_seqs * arguments.data_parallel,
            context_tokens=self._format.context,
            min_pixels=factor**2,
            max_pixels=arguments.max_pixels,
            factor=factor,
            facts=self._shared.running.facts,
            canaries=("box", "order", "tokens", "images", "cache"),
        )

    async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
        """Run one request; see `Engine.generate`."""
        if self._shared is None or self._format is None or self._preparing is None:
            raise EngineError("the engine is not running", kind="closed")
        from vllm.exceptions import VLLMClientError
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        begun = time.monotonic()
        prompt = await asyncio.get_running_loop().run_in_executor(
            self._preparing, self._format.prompt, request, images
        )
        try:
            output = await self._output(request, prompt)
        except VLLMClientError as error:
            raise EngineError(
                f"{request.id}: vLLM refuses it: {error}", kind="refused", retryable=False
            ) from error
        except EngineDeadError as error:
            raise EngineDead(
                "vLLM's engine process has died; its own messages above say why"
            ) from error
        except (EngineGenerateError, ValueError) as error:
            cause = error.__cause__ or error
            raise EngineError(f"{request.id}: vLLM failed: {cause!r}", kind="model") from error
        return self._format.completion(request, output, begun)

    async def _output(self, request: Request, prompt: dict[str, Any]) -> Any:
        """vLLM's final output for a prompt."""
        assert self._shared is not None and self._format is not None
        llm, recipes = self._shared.running.llm, request.recipes
        with self._shared.ranks.place(recipes[0].source if recipes else None) as rank:
            for _ in range(SENDINGS):
                # Images become patches here, in vLLM's own threads.
                (rendered,) = await llm.renderer.render_cmpl_async([prompt])
                self._format.check_rendered(request, rendered)
                (output,) = [
                    output
                    async for output in llm.generate(
                        rendered,
                        self._format.sampling(request),
                        f"{request.id}:{next(self._numbers)}",
                        lora_request=self._lora,
                        priority=request.priority,
                        data_parallel_rank=rank if self.arguments.data_parallel > 1 else None,
                    )
                ]
                if not lost_image(output):
                    break
        return output

    async def close(self) -> None:
        """Stop vLLM, unless another engine of this process uses it."""
        shared, self._shared, self._format, self._lora = self._shared, None, None, None
        _made.discard(self)
        if self._preparing is not None:
            self._preparing.shutdown(wait=False, cancel_futures=True)
            self._preparing = None
        if shared is not None:
            from p2r_bench.engines.vllm_sharing import leave

            leave(shared)
