"""In place of verl's rollout server: the bundled model, generating from the token ids and pixels it is handed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from p2r_bench_pra_grpo.backends.embedded.decoding import Batch, Row
from p2r_bench_pra_grpo.backends.embedded.inputs import Prompt, PromptBuilder
from p2r_bench_pra_grpo.backends.embedded.loading import load
from PIL import Image
from verl.workers.rollout.replica import TokenOutput

from p2r_bench.engines.chat_template import chat_template
from p2r_bench.types import Sampling


class Generator:
    """Has the one method of verl's client that agent loops call. Picklable: the model is loaded where it is used.

    Attributes:
        asked: Keyword arguments of every call, in order.
        failing: Seeds of the calls that raise.
    """

    def __init__(self, model: Path, max_tokens: int, failing: Iterable[int] = ()) -> None:
        self.model = model
        self.max_tokens = max_tokens
        self.failing = frozenset(failing)
        self.asked: list[dict[str, Any]] = []
        self._parts: tuple[PromptBuilder, Batch] | None = None
        self._lock: threading.Lock | None = None

    async def generate(self, request_id: str, **asked: Any) -> TokenOutput:
        self.asked.append(asked)
        if asked["sampling_params"]["seed"] in self.failing:
            raise RuntimeError("the rollout server lost this request")
        self._lock = self._lock or threading.Lock()
        ids = await asyncio.to_thread(self._generate, **asked)
        return TokenOutput(
            token_ids=ids,
            log_probs=[-1.0] * len(ids),
            stop_reason="completed",
            extra_fields={"global_steps": 0, "min_global_steps": 0, "max_global_steps": 0},
        )

    def _generate(
        self,
        prompt_ids: list[int],
        sampling_params: dict[str, Any],
        image_data: Sequence[Image.Image],
        **_: Any,
    ) -> list[int]:
        assert self._lock is not None
        with self._lock:
            builder, batch = self._parts = self._parts or self._load()
            positions, offset = builder._positions(prompt_ids, image_data)
            prompt = Prompt(
                tuple(prompt_ids),
                positions,
                offset,
                tuple(torch.from_numpy(np.array(image)) for image in image_data),
                prompt_ids.count(builder.image_id),
            )
            batch._suppressed = torch.tensor(sorted(sampling_params["logit_bias"]))
            row = Row(
                prompt,
                Sampling(
                    temperature=sampling_params["temperature"],
                    top_p=sampling_params["top_p"],
                    max_tokens=self.max_tokens,
                    seed=sampling_params["seed"],
                ),
            )
            done = batch.add([row])
            while not done:
                done = batch.step()
            return row.output

    def _load(self) -> tuple[PromptBuilder, Batch]:
        torch.set_num_threads(1)
        loaded = load(self.model, device="cpu", dtype="float32")
        template = chat_template(self.model, loaded.tokenizer)
        builder = PromptBuilder(
            loaded.tokenizer, template, loaded.model.base_model, loaded.patches, loaded.context
        )
        batch = Batch(
            loaded.model,
            loaded.tokenizer,
            loaded.patches,
            end_ids=loaded.end_ids,
            suppressed_ids=(),
        )
        return builder, batch
