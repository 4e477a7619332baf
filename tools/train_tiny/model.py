"""The p2r-tiny architecture, and batched forwards that give the same numbers as transformers' own.

transformers runs vision attention image by image; for small images on a CPU that is mostly
overhead. Training batches images of one size into single attention calls with the model's own weights.
"""

from __future__ import annotations

import functools
import math

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
    """A fresh model; positions start as smooth functions of place, so that boxes are learned early."""
    torch.manual_seed(seed)
    cfg._attn_implementation = "sdpa"
    model = Qwen3VLForConditionalGeneration(cfg)
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
        table.weight[:, : both.shape[1]] += 0.5 * both
    return model


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


def see(visual: Qwen3VLVisionModel, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Merged tokens and deepstack features, each [b, tokens, 192], of images of one size."""
    b, h, w, _ = pixels.shape
    taps, weights, ids = _grid(h // PATCH, w // PATCH, visual.num_grid_per_side)
    proj = visual.patch_embed.proj
    x = F.linear(patches(pixels), proj.weight.sum(2).flatten(1), proj.bias)
    x = x + (visual.pos_embed(taps) * weights[:, :, None]).sum(1)
    cos, sin = visual.rotary_pos_emb(x, ids)
    deep = None
    for depth, block in enumerate(visual.blocks):
        attn = block.attn
        q, k, v = attn.qkv(block.norm1(x)).reshape(b, -1, 3, attn.num_heads, attn.head_dim).unbind(2)
        q, k = apply_rotary_pos_emb_vision(q.float(), k.float(), cos, sin)
        out = attend(q, k, v.float())
        x = x + attn.proj(out.flatten(2))
        x = x + block.mlp(block.norm2(x))
        if depth in visual.deepstack_visual_indexes:
            deep = visual.deepstack_merger_list[0](x.reshape(-1, x.shape[-1])).reshape(b, -1, WIDTH)
    merged = visual.merger(x.reshape(-1, x.shape[-1])).reshape(b, -1, WIDTH)
    assert deep is not None
    return merged, deep
