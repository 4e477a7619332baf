"""The p2r-tiny architecture, and batched forwards that give the same numbers as transformers' own.

transformers runs vision attention image by image; for small images on a CPU that is mostly
overhead. Training batches images of one size into single attention calls with the model's own weights.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration
from transformers.models.qwen3_vl.modeling_qwen3_vl import (
    Qwen3VLVisionModel,
    apply_rotary_pos_emb_vision,
)
from transformers.vision_utils import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

PATCH, MERGE = 16, 2
WIDTH = 192


def config(vocab_size: int, ids: dict[str, int]) -> Qwen3VLConfig:
    """Text 192 × 4, vision 128 × 4 with one deepstack level; about four million parameters."""
    return Qwen3VLConfig(
        text_config={
            "vocab_size": vocab_size,
            "hidden_size": WIDTH,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 6,
            "head_dim": 32,
            "max_position_embeddings": 8192,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
            },
            "tie_word_embeddings": True,
            "pad_token_id": ids["<|endoftext|>"],
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
        },
        vision_config={
            "depth": 4,
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_heads": 4,
            "out_hidden_size": WIDTH,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": [1],
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def build(cfg: Qwen3VLConfig, seed: int) -> Qwen3VLForConditionalGeneration:
    """A fresh model whose vision tower starts from smooth positions and whitened patches.

    Positions that are smooth functions of place let boxes be learned early. Patches that start as
    cosine components, small for the plain colour and large for fine luminance, let marks be learned at all:
    from random filters the digits stayed at chance for hundreds of steps.
    """
    torch.manual_seed(seed)
    cfg._attn_implementation = "sdpa"
    model = Qwen3VLForConditionalGeneration(cfg)
    with torch.no_grad():
        _cosine_patches(model.model.visual.patch_embed.proj.weight)
    neighbour_heads(model.model.visual)
    table = model.model.visual.pos_embed
    side = math.isqrt(table.num_embeddings)
    line = torch.linspace(0, 1, side)
    waves = [line - 0.5] + [
        f(math.pi * k * line) for k in (1, 2, 3, 4, 6, 8, 12) for f in (torch.sin, torch.cos)
    ]
    y = torch.stack([w[:, None].expand(side, side) for w in waves], -1).reshape(side * side, -1)
    x = torch.stack([w[None, :].expand(side, side) for w in waves], -1).reshape(side * side, -1)
    with torch.no_grad():
        table.weight.normal_(0, 0.02)
        both = torch.cat([y, x], -1)
        table.weight[:, : both.shape[1]] += 0.2 * both
    return model


def _cosine_patches(weight: Tensor) -> None:
    """Fill [128, 3, 2, 16, 16]: 81 luminance and 2 × 16 colour components, then faint noise."""
    place = (torch.arange(PATCH) + 0.5) * math.pi / PATCH
    waves = [torch.cos(k * place) * math.sqrt((1 if k == 0 else 2) / PATCH) for k in range(9)]
    grey = torch.tensor([1.0, 1.0, 1.0]) / math.sqrt(3)
    red_green = torch.tensor([1.0, -1.0, 0.0]) / math.sqrt(2)
    yellow_blue = torch.tensor([1.0, 1.0, -2.0]) / math.sqrt(6)
    rows = []
    for tint, order in ((grey, 9), (red_green, 4), (yellow_blue, 4)):
        for u in range(order):
            for v in range(order):
                gain = 0.08 + 0.9 * min(1.0, (u + v) / 4) if tint is grey else 0.15 + 0.1 * (u + v)
                rows.append(gain * tint[:, None, None] * waves[u][:, None] * waves[v][None, :])
    stack = torch.stack(rows)
    weight.normal_(0, 0.005)
    weight[: len(stack)] += stack[:, :, None] / 2  # two equal temporal halves


NEIGHBOURS = (((0, 1), (0, -1), (1, 0), (-1, 0)), ((1, 1), (1, -1), (-1, 1), (-1, -1)))
"""Row and column offset each head of the first two blocks starts out looking at."""


def neighbour_heads(visual: Qwen3VLVisionModel, strength: float = 4.0) -> None:
    """Set query and key biases so that rotary positions make each early head look at one neighbour.

    A mark lies across up to nine patches at any phase; heads that start as a convolution's taps put it
    together at once, where learned ones took most of the training to find each other.
    """
    inv = visual.rotary_pos_emb.inv_freq
    for block, offsets in zip(visual.blocks, NEIGHBOURS, strict=False):
        attn: Any = block.attn
        bias = attn.qkv.bias.data.view(3, attn.num_heads, attn.head_dim)
        radius = math.sqrt(strength / attn.scaling)
        for head, offset in enumerate(offsets):
            for axis, delta in enumerate(offset):
                for i in range(2):
                    j = axis * len(inv) + i
                    bias[0, head, j] = radius * math.cos(inv[i] * delta)
                    bias[0, head, j + attn.head_dim // 2] = radius * math.sin(inv[i] * delta)
                    bias[1, head, j], bias[1, head, j + attn.head_dim // 2] = radius, 0.0


@functools.lru_cache(maxsize=32)
def _grid(rows: int, columns: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    thw = torch.tensor([[1, rows, columns]])
    taps, weights = get_vision_interpolation_indices_and_weights(
        thw, num_grid_per_side=side, mode="bilinear", align_corners=True, spatial_merge_size=MERGE
    )
    return taps, weights, get_vision_position_ids(thw, MERGE)


def patches(pixels: Tensor) -> Tensor:
    """uint8 [b, h, w, 3] → float [b, patches, 768] in merge-block order, in [-1, 1]."""
    b, h, w, _ = pixels.shape
    gh, gw, m, p = h // (PATCH * MERGE), w // (PATCH * MERGE), MERGE, PATCH
    x = pixels.reshape(b, gh, m, p, gw, m, p, 3).permute(0, 1, 4, 2, 5, 7, 3, 6)
    return x.reshape(b, gh * gw * m * m, 3 * p * p).float() / 127.5 - 1


def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    """Attention over [b, n, heads, dim] in float32: the CPU kernel's backward is slow in bfloat16."""
    with torch.autocast("cpu", enabled=False):
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2)


def places(
    visual: Qwen3VLVisionModel, rows: int, columns: int, at: Tensor | None, frame: tuple[int, int]
) -> Tensor:
    """Position embeddings [patches, 128] of a whole image, or [b, patches, 128] of windows of a frame.

    at: [b, 2] row and column, in merged tokens, where each window starts in a frame of so many tokens.
    """
    if at is None:
        taps, weights, _ = _grid(rows, columns, visual.num_grid_per_side)
        embedded: Tensor = visual.pos_embed(taps)
        return (embedded * weights[:, :, None]).sum(1)
    taps, weights, _ = _grid(frame[0] * MERGE, frame[1] * MERGE, visual.num_grid_per_side)
    table: Tensor = (visual.pos_embed(taps) * weights[:, :, None]).sum(1)
    table = table.reshape(frame[0], frame[1], MERGE * MERGE, -1)
    r = at[:, 0, None, None] + torch.arange(rows // MERGE)[None, :, None]
    c = at[:, 1, None, None] + torch.arange(columns // MERGE)[None, None, :]
    return table[r, c].reshape(len(at), rows * columns, -1)


def see(
    visual: Qwen3VLVisionModel,
    pixels: Tensor,
    at: Tensor | None = None,
    frame: tuple[int, int] = (4, 7),
) -> tuple[Tensor, Tensor]:
    """Merged tokens and deepstack features, each [b, tokens, 192], of images of one size.

    With `at`, each image passes for a window of a larger one; see `places`.
    """
    b, h, w, _ = pixels.shape
    _, _, ids = _grid(h // PATCH, w // PATCH, visual.num_grid_per_side)
    proj = visual.patch_embed.proj
    x = F.linear(patches(pixels), proj.weight.sum(2).flatten(1), proj.bias)
    x = x + places(visual, h // PATCH, w // PATCH, at, frame)
    cos, sin = visual.rotary_pos_emb(x, ids)
    deep = None
    blocks: Any = visual.blocks
    for depth, block in enumerate(blocks):
        attn = block.attn
        q, k, v = (
            attn.qkv(block.norm1(x)).reshape(b, -1, 3, attn.num_heads, attn.head_dim).unbind(2)
        )
        q, k = apply_rotary_pos_emb_vision(q.float(), k.float(), cos, sin)
        out = attend(q, k, v.float())
        x = x + attn.proj(out.flatten(2))
        x = x + block.mlp(block.norm2(x))
        if depth in visual.deepstack_visual_indexes:
            deep = visual.deepstack_merger_list[0](x.reshape(-1, x.shape[-1])).reshape(b, -1, WIDTH)
    merged = visual.merger(x.reshape(-1, x.shape[-1])).reshape(b, -1, WIDTH)
    assert deep is not None
    return merged, deep
