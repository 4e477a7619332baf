"""The language model's batched forward, and the batches it reads.

Same numbers as transformers' own forward for right-padded sequences, with attention in float32 and the
head applied only where there is something to learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from dialogue import Example
from model import WIDTH, attend
from torch import Tensor
from torch.nn import functional as F
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextModel, rotate_half


@dataclass
class Seen:
    """An image's tokens: merged and deepstack features, each [rows · columns, 192]."""

    merged: Tensor
    deep: Tensor
    rows: int
    columns: int


@dataclass
class Batch:
    """Right-padded sequences. `at` and the rest describe the tokens that are targets, flattened."""

    ids: Tensor  # [b, n]
    positions: Tensor  # [3, b, n]
    slots: Tensor  # [b, n] True where an image token stands
    merged: Tensor  # [slots, 192]
    deep: Tensor  # [slots, 192]
    at: Tensor  # [t] index into the flattened hidden states that predict each target
    target: Tensor  # [t]
    weight: Tensor  # [t]
    place: Tensor  # [t] coordinate in thousandths, or -1
    example: Tensor  # [t] which example


def place_ids(ids: Sequence[int], images: Sequence[Seen], pad: int) -> np.ndarray:
    """Rotary positions [3, n]: text advances in all three axes, an image spans a block of rows and columns."""
    out = np.zeros((3, len(ids)), dtype=np.int64)
    nxt, i, queue = 0, 0, iter(images)
    while i < len(ids):
        if ids[i] != pad:
            out[:, i] = nxt
            nxt, i = nxt + 1, i + 1
            continue
        image = next(queue)
        n = image.rows * image.columns
        out[0, i : i + n] = nxt
        out[1, i : i + n] = nxt + np.repeat(np.arange(image.rows), image.columns)
        out[2, i : i + n] = nxt + np.tile(np.arange(image.columns), image.rows)
        nxt, i = nxt + max(image.rows, image.columns), i + n
    return out


def collate(examples: Sequence[Example], images: Mapping[object, Seen], pad: int, filler: int) -> Batch:
    """Examples as one batch."""
    length = max(len(e.ids) for e in examples)
    ids = np.full((len(examples), length), filler, dtype=np.int64)
    positions = np.zeros((3, len(examples), length), dtype=np.int64)
    at, target, weight, place, number = [], [], [], [], []
    merged, deep = [], []
    for k, e in enumerate(examples):
        ids[k, : len(e.ids)] = e.ids
        seen = [images[key] for key in e.images]
        positions[:, k, : len(e.ids)] = place_ids(e.ids, seen, pad)
        merged += [s.merged for s in seen]
        deep += [s.deep for s in seen]
        for i, w in enumerate(e.weights):
            if w > 0:
                at.append(k * length + i - 1)
                target.append(e.ids[i])
                weight.append(w)
                place.append(e.places.get(i, -1))
                number.append(k)
    none = torch.zeros(0, WIDTH)
    tensor_ids = torch.from_numpy(ids)
    return Batch(
        tensor_ids, torch.from_numpy(positions), tensor_ids == pad,
        torch.cat([none, *merged]).float(), torch.cat([none, *deep]).float(),
        torch.tensor(at), torch.tensor(target), torch.tensor(weight), torch.tensor(place), torch.tensor(number),
    )  # fmt: skip


def speak(model: Qwen3VLTextModel, embeds: Tensor, positions: Tensor, deep: Tensor) -> Tensor:
    """Final hidden states [b, n, 192]; `deep` [b, n, 192] is added after the first layer."""
    cos, sin = model.rotary_emb(embeds, positions)
    cos, sin = cos[:, :, None].float(), sin[:, :, None].float()
    x = embeds
    b, n, _ = x.shape
    for depth, layer in enumerate(model.layers):
        attn = layer.self_attn
        y = layer.input_layernorm(x)
        q = attn.q_norm(attn.q_proj(y).view(b, n, -1, attn.head_dim).float())
        k = attn.k_norm(attn.k_proj(y).view(b, n, -1, attn.head_dim).float())
        v = attn.v_proj(y).view(b, n, -1, attn.head_dim).float()
        q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
        x = x + attn.o_proj(attend(q, k, v, causal=True).reshape(b, n, -1))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
        if depth == 0:
            x = x + deep
    return model.norm(x)


def hidden_at(model: Qwen3VLTextModel, batch: Batch, merged: Tensor, deep: Tensor) -> Tensor:
    """Hidden states of the positions that predict the batch's targets, [t, 192]."""
    embeds = model.embed_tokens(batch.ids)
    embeds = embeds.masked_scatter(batch.slots[..., None], merged.to(embeds.dtype))
    below = torch.zeros_like(embeds).masked_scatter(batch.slots[..., None], deep.to(embeds.dtype))
    return speak(model, embeds, batch.positions, below).flatten(0, 1)[batch.at]


def loss_of(logits: Tensor, batch: Batch, numbers: Tensor, spread: float) -> Tensor:
    """Weighted cross-entropy; coordinates have a Gaussian of `spread` thousandths as their target."""
    each = F.cross_entropy(logits, batch.target, reduction="none")
    on = batch.place >= 0
    if on.any() and spread > 0:
        axis = torch.arange(len(numbers))
        soft = torch.exp(-0.5 * ((axis - batch.place[on][:, None]) / spread) ** 2)
        soft = soft / soft.sum(1, keepdim=True)
        logp = F.log_softmax(logits[on], -1)[:, numbers]
        each = each.masked_scatter(on, -(soft * logp).sum(1))
    return (each * batch.weight).sum() / batch.weight.sum()
