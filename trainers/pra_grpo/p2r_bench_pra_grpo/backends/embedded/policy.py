"""A checkpoint of the Qwen3-VL family that is sampled from and trained.

A group's rollouts share their prompt. The prompt is read once, and all rollouts use its keys and values, both in
sampling and in the loss. The gradient flows back through the shared part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicCache

from p2r_bench_pra_grpo.backends.embedded.grpo import log_probs_of
from p2r_bench_pra_grpo.backends.embedded.inputs import Prompt
from p2r_bench_pra_grpo.backends.embedded.kv_cache import RowCache
from p2r_bench_pra_grpo.backends.embedded.loading import Loaded


@dataclass(frozen=True)
class Seen:
    """Visual features of a prompt's images, in order.

    Attributes:
        merged: (visual tokens, width of the language model).
        deep: One such tensor per deepstack level.
    """

    merged: Tensor
    deep: tuple[Tensor, ...]


@dataclass(frozen=True)
class Read:
    """Prompts that have been read: one row per prompt.

    Attributes:
        cache: Keys and values, left-padded to one length.
        hidden: (rows, width): the last hidden states, from which the first tokens of answers follow.
        pads: Columns of padding of each row.
        starts: Position of the first token after each prompt.
    """

    cache: Cache
    hidden: Tensor
    pads: Tensor
    starts: Tensor


@dataclass(frozen=True)
class Scored:
    """Rollouts under a policy; (n, t) each, right-padded with zeros.

    Attributes:
        log_probs: Log-probabilities of the sampled tokens.
        entropy: Entropies of their distributions.
        mask: 1 for tokens, 0 for padding.
    """

    log_probs: Tensor
    entropy: Tensor
    mask: Tensor


class Policy:
    """The model of a stage, or its frozen reference.

    Args:
        temperature: Temperature of the rollouts; logits are divided by it before any probability.
        train_vision: Train the vision tower too. Without it, `see` needs to run once per image only.
    """

    def __init__(self, loaded: Loaded, *, temperature: float = 1.0, train_vision: bool = False):
        self.loaded = loaded
        self.model: nn.Module = loaded.model
        self.temperature = temperature
        self.train_vision = train_vision
        self.device = loaded.model.device
        self.forbidden = torch.tensor(loaded.suppressed_ids, dtype=torch.long, device=self.device)
        self.image_id = int(loaded.model.config.image_token_id)
        self._padding_id = min(loaded.end_ids)
        self._vision: Any = loaded.model.base_model.visual
        self._language: Any = loaded.model.base_model.language_model
        self._vision.requires_grad_(train_vision)

    def trained(self) -> dict[str, nn.Parameter]:
        """Parameters that a stage changes, by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def see(self, prompts: Sequence[Prompt]) -> list[Seen]:
        """Return the vision tower's features of every prompt's images."""
        images = [image for prompt in prompts for image in prompt.images]
        if not images:
            nothing = torch.zeros(0, self._language.config.hidden_size, device=self.device)
            return [Seen(nothing, ()) for _ in prompts]
        patches = self.loaded.patches
        grid = torch.tensor([patches.grid(i.shape[1], i.shape[0]) for i in images])
        with torch.set_grad_enabled(self.train_vision and torch.is_grad_enabled()):
            out = self._vision(
                torch.cat([patches(image.to(self.device)) for image in images]),
                grid_thw=grid.to(self.device),
                return_dict=True,
            )
        counts = [prompt.visual_tokens for prompt in prompts]
        merged = out.pooler_output.split(counts)
        deep = [level.split(counts) for level in out.deepstack_features]
        return [Seen(m, tuple(d)) for m, *d in zip(merged, *deep, strict=True)]

    def read(self, prompts: Sequence[Prompt], seen: Sequence[Seen], cache: Cache) -> Read:
        """Read prompts into an empty cache."""
        lengths = torch.tensor([len(prompt.ids) for prompt in prompts])
        longest = int(lengths.max())
        ids = torch.full((len(prompts), longest), self._padding_id)
        positions = torch.zeros((3, len(prompts), longest), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt.ids) :] = torch.tensor(prompt.ids)
            positions[:, row, longest - len(prompt.ids) :] = prompt.positions
        ids, positions = ids.to(self.device), positions.to(self.device)
        pads = (longest - lengths).to(self.device)
        embeds = self._language.embed_tokens(ids)
        slots = ids == self.image_id
        deep: list[Tensor] = []
        if bool(slots.any()):
            merged = torch.cat([s.merged for s in seen]).to(embeds.dtype)
            embeds = embeds.masked_scatter(slots.unsqueeze(-1), merged)
            levels = max(len(s.deep) for s in seen)
            deep = [torch.cat([s.deep[n] for s in seen if s.deep]) for n in range(levels)]
        hidden = self._language(
            inputs_embeds=embeds,
            attention_mask=_columns(longest, pads),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            visual_pos_masks=slots,
            deepstack_visual_embeds=deep or None,
        ).last_hidden_state[:, -1]
        offsets = torch.tensor([prompt.offset for prompt in prompts])
        return Read(cache, hidden, pads, (lengths + offsets).to(self.device))

    def go_on(self, read: Read, tokens: Tensor, done: int) -> Tensor:
        """Add tokens (rows, t) to the cache, and return their hidden states (rows, t, width).

        Args:
            done: Tokens after the prompt that the cache holds already.
        """
        length = read.cache.get_seq_length() + tokens.shape[1]
        steps = torch.arange(done, done + tokens.shape[1], device=self.device)
        positions = read.starts.unsqueeze(-1) + steps
        hidden: Tensor = self._language(
            inputs_embeds=self._language.embed_tokens(tokens),
            attention_mask=_columns(length, read.pads),
            position_ids=positions.expand(3, -1, -1),
            past_key_values=read.cache,
            use_cache=True,
        ).last_hidden_state
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits at the policy's temperature."""
        head: Any = self.model.get_output_embeddings()  # type: ignore[operator]
        logits: Tensor = head(hidden)
        return logits if self.temperature == 1.0 else logits / self.temperature

    def score(
        self,
        prompts: Sequence[Prompt],
        seen: Sequence[Seen],
        rollouts: Sequence[Sequence[Sequence[int]]],
    ) -> Scored:
        """Return log-probabilities and entropies of rollouts, with a gradient where one is enabled.

        Args:
            rollouts: For each prompt, the token ids of each of its rollouts, the end token included.
        """
        flat = [tokens for group in rollouts for tokens in group]
        longest = max(len(tokens) for tokens in flat)
        ids = torch.full((len(flat), longest), self._padding_id)
        mask = torch.zeros((len(flat), longest))
        for row, tokens in enumerate(flat):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1.0
        ids, mask = ids.to(self.device), mask.to(self.device)
        cache = DynamicCache()
        read = handed_out(self.read(prompts, seen, cache), [len(group) for group in rollouts])
        hidden = read.hidden.unsqueeze(1)
        if longest > 1:
            hidden = torch.cat([hidden, self.go_on(read, ids[:, :-1], 0)], dim=1)
        log_probs, entropy = log_probs_of(self.logits(hidden), ids, self.forbidden)
        return Scored(log_probs * mask, entropy * mask, mask)


def handed_out(read: Read, counts: Sequence[int]) -> Read:
    """Repeat each row, one row per rollout. The cache is changed in place.

    Args:
        counts: Rollouts of each prompt.
    """
    device = read.hidden.device
    repeats = torch.tensor(list(counts), device=device)
    rows = torch.arange(len(counts), device=device).repeat_interleave(repeats)
    if isinstance(read.cache, RowCache):
        read.cache.keep(rows.tolist(), 0)
    else:
        read.cache.batch_select_indices(rows)
    return Read(read.cache, read.hidden[rows], read.pads[rows], read.starts[rows])


def _columns(length: int, pads: Tensor) -> Tensor:
    """Return (rows, length): 1 where a column is no padding."""
    return (torch.arange(length, device=pads.device) >= pads.unsqueeze(-1)).long()
