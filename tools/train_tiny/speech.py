"""The language model's batched forward, and the batches it reads.

Same numbers as transformers' own forward for right-padded sequences, with attention in float32 and the
head applied only where there is something to learn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from dialogue import Example, Key
from model import WIDTH, attend
from torch import Tensor
from torch.nn import functional as F
from transformers.models.qwen3_vl import modeling_qwen3_vl as transformers_model
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextModel

rotate_half: Callable[[Tensor], Tensor] = transformers_model.rotate_half


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
    focus_at: Tensor  # [f] index into the flattened hidden states that predict a coordinate
    focus_colour: Tensor  # [f] colour of the sign it belongs to
    focus_on: Tensor  # [f, n] True where that sign lies


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


def collate(
    examples: Sequence[Example], images: Mapping[Key, Seen], pad: int, filler: int
) -> Batch:
    """Examples as one batch."""
    length = max(len(e.ids) for e in examples)
    ids = np.full((len(examples), length), filler, dtype=np.int64)
    positions = np.zeros((3, len(examples), length), dtype=np.int64)
    at, target, weight, place, number = [], [], [], [], []
    merged, deep = [], []
    focus_at, focus_colour, focus_on = [], [], []
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
        for i, (colour, tokens) in e.focus.items():
            focus_at.append(k * length + i - 1)
            focus_colour.append(colour)
            row = np.zeros(length, dtype=bool)
            row[e.ids.index(pad) + np.asarray(tokens)] = True
            focus_on.append(row)
    none = torch.zeros(0, WIDTH)
    tensor_ids = torch.from_numpy(ids)
    return Batch(
        tensor_ids, torch.from_numpy(positions), tensor_ids == pad,
        torch.cat([none, *merged]).float(), torch.cat([none, *deep]).float(),
        torch.tensor(at), torch.tensor(target), torch.tensor(weight), torch.tensor(place), torch.tensor(number),
        torch.tensor(focus_at, dtype=torch.long), torch.tensor(focus_colour, dtype=torch.long),
        torch.from_numpy(np.asarray(focus_on, dtype=bool).reshape(-1, length)),
    )  # fmt: skip


@dataclass
class Glimpse:
    """Activations that stage 2 supervises: the residual and one head's attention at the coordinates."""

    residual: Tensor  # [f, 192] before layer `FOCUS`
    scores: Tensor  # [f, n] attention logits of the last head of layer `FOCUS`, -inf for later positions


FOCUS = 2


def speak(
    model: Qwen3VLTextModel,
    embeds: Tensor,
    positions: Tensor,
    deep: Tensor,
    focus_at: Tensor | None = None,
) -> tuple[Tensor, Glimpse | None]:
    """Final hidden states [b, n, 192]; `deep` [b, n, 192] is added after the first layer."""
    cos, sin = model.rotary_emb(embeds, positions)
    cos, sin = cos[:, :, None].float(), sin[:, :, None].float()
    x, glimpse = embeds, None
    b, n, _ = x.shape
    layers: Any = model.layers
    for depth, layer in enumerate(layers):
        attn = layer.self_attn
        y = layer.input_layernorm(x)
        q = attn.q_norm(attn.q_proj(y).view(b, n, -1, attn.head_dim).float())
        k = attn.k_norm(attn.k_proj(y).view(b, n, -1, attn.head_dim).float())
        v = attn.v_proj(y).view(b, n, -1, attn.head_dim).float()
        q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
        if depth == FOCUS and focus_at is not None and len(focus_at):
            row, column = focus_at // n, focus_at % n
            scores = (q[row, column, -1][:, None] * k[row, :, -1]).sum(-1) * attn.scaling
            scores = scores.masked_fill(torch.arange(n) > column[:, None], -torch.inf)
            glimpse = Glimpse(x.flatten(0, 1)[focus_at].float(), scores)
        x = x + attn.o_proj(attend(q, k, v, causal=True).reshape(b, n, -1))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
        if depth == 0:
            x = x + deep
    return model.norm(x), glimpse


def hidden_at(
    model: Qwen3VLTextModel, batch: Batch, merged: Tensor, deep: Tensor
) -> tuple[Tensor, Glimpse | None]:
    """Hidden states of the positions that predict the batch's targets, [t, 192]."""
    embeds = model.embed_tokens(batch.ids)
    embeds = embeds.masked_scatter(batch.slots[..., None], merged.to(embeds.dtype))
    below = torch.zeros_like(embeds).masked_scatter(batch.slots[..., None], deep.to(embeds.dtype))
    out, glimpse = speak(model, embeds, batch.positions, below, batch.focus_at)
    return out.flatten(0, 1)[batch.at], glimpse


def focus_loss(glimpse: Glimpse, batch: Batch, colours: Tensor) -> tuple[Tensor, float, float]:
    """Teaches a coordinate's position to know whose box it is in, and to look there.

    Two hops that next-token loss alone found only after thousands of steps: the asked colour must be in
    the residual, and a head of the next layer must attend to the tokens that show it. Returns the loss, the
    share of colours known and the mean attention on the sign.
    """
    known = F.rms_norm(glimpse.residual, (WIDTH,)) @ colours.T
    whose = F.cross_entropy(known, batch.focus_colour)
    share = glimpse.scores.masked_fill(~batch.focus_on, -torch.inf).logsumexp(
        1
    ) - glimpse.scores.logsumexp(1)
    right = (known.argmax(1) == batch.focus_colour).float().mean().item()
    return whose - share.mean(), right, share.exp().mean().item()


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
