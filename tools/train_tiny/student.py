"""The parts that stage 2 trains, and how they start out."""

from __future__ import annotations

from typing import Any

import torch
from model import WIDTH
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from views import COLOURS
from vision import Heads


def number_tokens(tokenizer: Tokenizer) -> Tensor:
    return torch.tensor([tokenizer.encode(str(n)).ids[0] for n in range(1001)])


def start_embeddings(embed: nn.Embedding, tokenizer: Tokenizer, numbers: Tensor) -> None:
    """Numbers start smooth in their value, with a part of their own that is large for the small ones."""
    value = torch.arange(1001) / 1000
    waves = [value - 0.5, value**2 - 0.33]
    for k in (1, 2, 4, 8, 16, 32):
        waves += [torch.sin(2 * torch.pi * k * value), torch.cos(2 * torch.pi * k * value)]
    smooth = torch.stack(waves, 1)
    with torch.no_grad():
        embed.weight.normal_(0, 0.05)
        part = embed.weight[numbers] * 0.5
        part[:20] *= 2
        mix = torch.randn(smooth.shape[1], WIDTH) * 0.03
        embed.weight[numbers] = part + smooth @ mix


def start_bridge(
    embed: nn.Embedding, heads: Heads, tokenizer: Tokenizer, sample: Tensor
) -> nn.Linear:
    """A map that keeps the features' bulk and adds what the heads read: words as their embeddings, boxes
    along four directions.

    sample: [n, 192] features to normalise by.
    """
    words = [tokenizer.encode(c).ids[0] for c in COLOURS] + [
        tokenizer.encode(str(d)).ids[0] for d in range(10)
    ]
    reading = torch.cat([heads.head_colour.weight[: len(COLOURS)], heads.head_digit.weight])
    reading = reading - reading.mean(0)
    basis = embed.weight[words]
    bridge = nn.Linear(WIDTH, WIDTH)
    with torch.no_grad():
        centred = sample - sample.mean(0)
        scale = 0.05 / centred.std()
        through = basis.T @ reading
        spread = (centred @ through.T).std()
        edges = F.normalize(torch.randn(4, WIDTH), dim=1).T @ heads.head_box.weight
        edges *= 0.05 / (centred @ edges.T).std()
        bridge.weight.copy_(scale * torch.eye(WIDTH) + 0.05 / spread * through + edges)
        bridge.bias.copy_(-(bridge.weight @ sample.mean(0)))
    return bridge


def colour_heads(lm: Any, tokenizer: Tokenizer) -> None:
    """Start one head of each middle layer as a match of colours: words look at tokens that show them.

    Its queries and keys are what the residual holds of the colours' embeddings, in the slowest rotary
    dimensions, where distance hardly matters.
    """
    words = [tokenizer.encode(c).ids[0] for c in COLOURS]
    with torch.no_grad():
        basis = lm.embed_tokens.weight[words]
        basis = F.normalize(basis - basis.mean(0), dim=1)
        for layer in (lm.layers[1], lm.layers[2]):
            attn = layer.self_attn
            last = slice(WIDTH - attn.head_dim, WIDTH)
            for linear in (attn.q_proj, attn.k_proj):
                rows = torch.zeros(attn.head_dim, WIDTH)
                rows[8:16] = basis
                linear.weight[last] = rows


class Student(nn.Module):
    """The parts that stage 2 trains."""

    def __init__(self, lm: nn.Module, bridge: nn.Linear, deep_bridge: nn.Linear) -> None:
        super().__init__()
        self.lm, self.bridge, self.deep_bridge = lm, bridge, deep_bridge
