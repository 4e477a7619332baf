"""A batch of requests through transformers' `generate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria

from p2r_bench.engines.completions import cut_at_stop
from p2r_bench.engines.processors import Prompt
from p2r_bench.engines.sampling import RowSampler
from p2r_bench.types import Sampling


@dataclass(eq=False)
class Row:
    """A request in a batch, with its output so far.

    Attributes:
        output: Token ids chosen so far, the end token included.
        text: The output without special tokens, up to a stop string; final once `finish` is set.
        finish: "stop", "length", "nan" (the model's numbers overflowed), "cancelled", or None while the row runs.
    """

    prompt: Prompt
    sampling: Sampling
    output: list[int] = field(default_factory=list)
    text: str = ""
    finish: str | None = None

    @property
    def longest(self) -> int:
        """Number of tokens of the prompt and of the longest allowed output."""
        return self.prompt.length + self.sampling.max_tokens


class Generator:
    """Runs batches on a model.

    Args:
        end_ids: Tokens that end an answer.
        suppressed_ids: Tokens that are never chosen.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, end_ids: Sequence[int], suppressed_ids: Sequence[int]
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.device: torch.device = model.device
        self.end_ids = frozenset(end_ids)
        self.suppressed = torch.tensor(sorted(suppressed_ids), dtype=torch.long, device=self.device)
        # A masked padding token must only not look like an image's placeholder.
        self.padding_id = min(end_ids)
        # `generate` takes defaults from here: the checkpoint's file must decide nothing.
        model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            eos_token_id=sorted(end_ids), pad_token_id=self.padding_id
        )

    @torch.inference_mode()
    def run(
        self, rows: Sequence[Row], cancelled: Callable[[Row], bool] = lambda row: False
    ) -> None:
        """Decode rows as one batch, and fill in their outputs.

        Args:
            cancelled: Function called for a row after each of its tokens; True ends the row.
        """
        for row in rows:
            row.output.clear()
            row.finish = None
        inputs = collate([row.prompt for row in rows], self.padding_id)
        batch = _Batch(self, rows, inputs["input_ids"].shape[1], cancelled)
        self.model.generate(
            **{key: value.to(self.device) for key, value in inputs.items()},
            do_sample=False,  # `_Choice` draws
            max_new_tokens=max(row.sampling.max_tokens for row in rows),
            logits_processor=[_Choice(batch)],
            stopping_criteria=[_Finished(batch)],
        )


def collate(prompts: Sequence[Prompt], padding_id: int) -> dict[str, torch.Tensor]:
    """Return the inputs of a batch: rows of tokens padded on the left, images one after the other."""
    longest = max(prompt.length for prompt in prompts)
    inputs: dict[str, torch.Tensor] = {}
    for key in {key: None for prompt in prompts for key in prompt.tensors}:
        parts = [
            (prompt.tensors[key], longest - prompt.length)
            for prompt in prompts
            if key in prompt.tensors
        ]
        if key in ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids"):
            value = padding_id if key == "input_ids" else 0
            parts = [
                (torch.nn.functional.pad(part, (pad, 0), value=value), 0) for part, pad in parts
            ]
        inputs[key] = torch.cat([part for part, _ in parts])
    return inputs


class _Batch:
    """State shared by the hooks of one call of `generate`."""

    def __init__(
        self,
        generator: Generator,
        rows: Sequence[Row],
        length: int,
        cancelled: Callable[[Row], bool],
    ) -> None:
        self.generator = generator
        self.rows = rows
        self.pads = [length - row.prompt.length for row in rows]
        self.samplers = [RowSampler(row.sampling, row.prompt.length) for row in rows]
        self.cancelled = cancelled

    def append(self, row: Row, token: int) -> None:
        """Add a token to a row. End the row at an end token, a stop string or the token cap."""
        row.output.append(token)
        if token in self.generator.end_ids:
            row.finish = "stop"
        elif len(row.output) >= row.sampling.max_tokens:
            row.finish = "length"
        if row.finish or row.sampling.stop:
            text = self.generator.tokenizer.decode(
                row.output, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            row.text = cut_at_stop(text, row.sampling.stop)
            if row.text != text:
                row.finish = "stop"


class _Choice(LogitsProcessor):
    """Logits processor that leaves a finite score to each row's chosen token only."""

    def __init__(self, batch: _Batch) -> None:
        self.batch = batch

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        batch = self.batch
        scores = scores.float()
        broken = (~torch.isfinite(scores.amax(dim=-1))).tolist()
        suppressed = batch.generator.suppressed
        chosen = scores.index_fill(-1, suppressed, float("-inf")).argmax(dim=-1)
        for index, (row, sampler) in enumerate(zip(batch.rows, batch.samplers, strict=True)):
            if row.finish is None and not broken[index] and not sampler.is_plain:
                ids = input_ids[index : index + 1, batch.pads[index] :]
                chosen[index] = sampler.choose(ids, scores[index : index + 1], suppressed)
        for row, token, bad in zip(batch.rows, chosen.tolist(), broken, strict=True):
            if row.finish is not None:
                continue
            if bad:
                row.finish = "nan"
            elif batch.cancelled(row):
                row.finish = "cancelled"
            else:
                batch.append(row, token)
        only = torch.full_like(scores, float("-inf"))
        return only.scatter_(-1, chosen.unsqueeze(-1), 0.0)


class _Finished(StoppingCriteria):
    """Stopping criterion that ends finished rows."""

    def __init__(self, batch: _Batch) -> None:
        self.batch = batch

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        done = [row.finish is not None for row in self.batch.rows]
        return torch.tensor(done, device=input_ids.device)
