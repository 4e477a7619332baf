"""Decoding of rows that join and leave a batch between steps, over `model.forward`.

Every row has its own settings, and leaves the batch as soon as it is done.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from p2r_bench.engines import cut_at_stop
from p2r_bench.types import Sampling
from p2r_bench_pra_grpo.backends.embedded.inputs import Prompt
from p2r_bench_pra_grpo.backends.embedded.kv_cache import RowCache
from p2r_bench_pra_grpo.backends.embedded.patches import Patches
from p2r_bench_pra_grpo.backends.embedded.token_choice import choose_tokens


@dataclass(eq=False)
class Row:
    """One request while it runs.

    Attributes:
        output: Ids chosen so far, the end token included.
        text: The output without special tokens, and without a stop string and what follows it; final
            once `finish` is set.
        finish: None while it runs, then "stop", "length" or "nan" (the model's numbers overflowed).
    """

    prompt: Prompt
    sampling: Sampling
    output: list[int] = field(default_factory=list)
    text: str = ""
    finish: str | None = None
    draw: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Clear the output and reset the random numbers."""
        self.output.clear()
        self.finish = None
        self.draw = random.Random(self.sampling.seed)

    @property
    def length(self) -> int:
        """Number of tokens in the cache: all but the newest."""
        return len(self.prompt.ids) + max(0, len(self.output) - 1)

    @property
    def most(self) -> int:
        """Most tokens of prompt and output together."""
        return len(self.prompt.ids) + self.sampling.max_tokens


class Batch:
    """Rows that decode together. Call `clear` after an exception from the model."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        patches: Patches,
        *,
        end_ids: Sequence[int],
        suppressed_ids: Sequence[int],
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.patches = patches
        self.device = model.device
        self.rows: list[Row] = []
        self._end_ids = frozenset(end_ids)
        self._padding_id = min(
            self._end_ids
        )  # masked; only must not look like an image's placeholder
        self._suppressed = torch.tensor(
            sorted(suppressed_ids), device=self.device, dtype=torch.long
        )
        self._vocabulary = model.get_output_embeddings().weight.shape[0]
        self._layers = model.config.get_text_config().num_hidden_layers
        self._cache: RowCache | None = None
        self._seen: torch.Tensor | None = None
        self._counts: torch.Tensor | None = None

    @torch.inference_mode()
    def add(self, rows: Sequence[Row]) -> list[Row]:
        """Read the prompts of new rows together and choose their first tokens; return the rows already done."""
        longest = max(len(row.prompt.ids) for row in rows)
        pads = [longest - len(row.prompt.ids) for row in rows]
        ids = torch.full((len(rows), longest), self._padding_id)
        positions = torch.zeros((3, len(rows), longest), dtype=torch.long)
        seen = torch.zeros((len(rows), self._vocabulary), dtype=torch.bool)
        for index, (row, pad) in enumerate(zip(rows, pads, strict=True)):
            prompt = torch.tensor(row.prompt.ids)
            ids[index, pad:] = prompt
            positions[:, index, pad:] = row.prompt.positions
            seen[index, prompt] = True
        seen = seen.to(self.device)
        counts = torch.zeros(seen.shape, dtype=torch.int32, device=self.device)
        cache = RowCache(self._layers)
        logits = self.model(
            input_ids=ids.to(self.device),
            attention_mask=self._mask(pads, longest) if any(pads) else None,
            position_ids=positions.to(self.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **self._images(rows),
        ).logits[:, -1]
        self._choose(rows, logits, seen, counts)
        if self._cache is None or self._seen is None or self._counts is None:
            self._cache, self._seen, self._counts = cache, seen, counts
        else:
            self._cache.join(cache)
            self._seen = torch.cat([self._seen, seen])
            self._counts = torch.cat([self._counts, counts])
        self.rows.extend(rows)
        return self._remove_finished()

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """Decode one more token for every row; remove and return the rows that are done."""
        assert self._cache is not None and self._seen is not None and self._counts is not None
        before = self._cache.get_seq_length()
        pads = [before - row.length for row in self.rows]
        position = torch.tensor(
            [row.length + row.prompt.offset for row in self.rows], device=self.device
        )
        logits = self.model(
            input_ids=torch.tensor([[row.output[-1]] for row in self.rows], device=self.device),
            attention_mask=self._mask(pads, before + 1) if any(pads) else None,
            position_ids=position.view(1, -1, 1).expand(3, -1, 1),
            past_key_values=self._cache,
            use_cache=True,
        ).logits[:, -1]
        self._choose(self.rows, logits, self._seen, self._counts)
        return self._remove_finished()

    def clear(self) -> list[Row]:
        """Remove and return all rows, and free their memory."""
        rows, self.rows = self.rows, []
        self._cache = self._seen = self._counts = None
        return rows

    def remove(self, leaving: Sequence[Row]) -> None:
        """Remove rows, done or not."""
        gone = set(map(id, leaving))
        stay = [index for index, row in enumerate(self.rows) if id(row) not in gone]
        if len(stay) == len(self.rows):
            return
        self.rows = [self.rows[index] for index in stay]
        if not self.rows:
            self.clear()
            return
        assert self._cache is not None and self._seen is not None and self._counts is not None
        skip = self._cache.get_seq_length() - max(row.length for row in self.rows)
        self._cache.keep(stay, skip)
        index = torch.tensor(stay, device=self.device)
        self._seen, self._counts = self._seen[index], self._counts[index]

    def _mask(self, pads: Sequence[int], length: int) -> torch.Tensor:
        start = torch.tensor(pads, device=self.device).unsqueeze(-1)
        return (torch.arange(length, device=self.device) >= start).long()

    def _images(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        images = [image for row in rows for image in row.prompt.images]
        if not images:
            return {}
        grids = [self.patches.grid(image.shape[1], image.shape[0]) for image in images]
        return {
            "pixel_values": torch.cat([self.patches(image.to(self.device)) for image in images]),
            "image_grid_thw": torch.tensor(grids, device=self.device),
        }

    def _choose(
        self,
        rows: Sequence[Row],
        logits: torch.Tensor,
        seen: torch.Tensor,
        counts: torch.Tensor,
    ) -> None:
        tokens = choose_tokens(
            logits,
            [row.sampling for row in rows],
            [row.draw for row in rows],
            seen,
            self._suppressed,
            counts,
        )
        chosen = torch.tensor([token or 0 for token in tokens], device=self.device)
        every = torch.arange(len(rows), device=self.device)
        seen[every, chosen] = True
        counts[every, chosen] += 1
        for row, token in zip(rows, tokens, strict=True):
            if token is None:
                row.finish = "nan"
            else:
                self._append(row, token)

    def _append(self, row: Row, token: int) -> None:
        row.output.append(token)
        if token in self._end_ids:
            row.finish = "stop"
        elif len(row.output) >= row.sampling.max_tokens:
            row.finish = "length"
        if row.finish or row.sampling.stop:
            text = self.tokenizer.decode(
                row.output, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            row.text = cut_at_stop(text, row.sampling.stop)
            if row.text != text:
                row.finish = "stop"

    def _remove_finished(self) -> list[Row]:
        finished = [row for row in self.rows if row.finish]
        self.remove(finished)
        return finished
