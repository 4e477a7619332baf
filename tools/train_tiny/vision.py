"""Stage 1: the vision tower, taught by three linear heads on every merged token.

Each token a sign lies on says the sign's colour, its digit (in close views) and its box in the image; the
others say that there is none. The heads are thrown away afterwards, except that the
language model's embeddings of colours, digits and numbers start from them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from model import WIDTH, build, config, see
from optim import Optimisers
from torch import Tensor, nn
from torch.nn import functional as F
from views import COLOURS, Cache

PLACEHOLDER_IDS = {
    name: i
    for i, name in enumerate(
        ("<|endoftext|>", "<|im_end|>", "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    )
}


class Heads(nn.Module):
    """colour (8 and none), digit (10), box (4), read linearly from a merged token."""

    def __init__(self) -> None:
        super().__init__()
        self.head_colour = nn.Linear(WIDTH, len(COLOURS) + 1)
        self.head_digit = nn.Linear(WIDTH, 10)
        self.head_box = nn.Linear(WIDTH, 4)


def targets(signs: np.ndarray, rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor]:
    """Per token: colour [b, n] (8 none, -1 unsaid), digit [b, n] (-1 none), box [b, n, 4].

    signs: [b, s, 6] with boxes in fractions of the view; cut-off signs leave their tokens unsaid.
    """
    x1, y1, x2, y2 = (signs[..., i, None, None] for i in range(4))
    there = signs[..., 4] >= 0
    top = (np.arange(rows) / rows)[:, None]
    left = (np.arange(columns) / columns)[None, :]
    wide = np.clip(np.minimum(x2, left + 1 / columns) - np.maximum(x1, left), 0, None)
    high = np.clip(np.minimum(y2, top + 1 / rows) - np.maximum(y1, top), 0, None)
    share = wide * high / np.maximum((x2 - x1) * (y2 - y1), 1e-6) * there[..., None, None]
    b, s = signs.shape[:2]
    share = share.reshape(b, s, rows * columns)
    complete = (
        (signs[..., 0] > -0.01) & (signs[..., 1] > -0.01) & (signs[..., 2] < 1.01) & (signs[..., 3] < 1.01)
    )
    owner = share >= share.max(-1, keepdims=True) - 1e-6
    said = (owner | (share > 0.12)) & (share > 0) & complete[..., None]
    best = (share * said).argmax(1)
    at = np.arange(b)[:, None]
    positive = (share * said).max(1) > 0
    touched = share.max(1) > 0
    picked = signs[at, best]
    colour = np.where(positive, picked[..., 4], np.where(touched, -1, len(COLOURS))).astype(np.int64)
    digit = np.where(positive, picked[..., 5], -1).astype(np.int64)
    return torch.from_numpy(colour), torch.from_numpy(digit), torch.from_numpy(picked[..., :4])


def window(
    rng: np.random.Generator, pixels: np.ndarray, signs: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """A random window of each view, with the boxes in the window's fractions."""
    n, h, w, _ = pixels.shape
    ww, wh = size
    xs, ys = rng.integers(0, w - ww + 1, n), rng.integers(0, h - wh + 1, n)
    cut = np.stack([p[y : y + wh, x : x + ww] for p, x, y in zip(pixels, xs, ys, strict=True)])
    moved = signs.copy()
    moved[..., [0, 2]] = (signs[..., [0, 2]] * w - xs[:, None, None]) / ww
    moved[..., [1, 3]] = (signs[..., [1, 3]] * h - ys[:, None, None]) / wh
    return cut, moved


def losses(heads: Heads, tokens: Tensor, goal: tuple[Tensor, Tensor, Tensor], close: bool) -> tuple[Tensor, dict]:
    """The three heads' loss and accuracies on one batch."""
    colour, digit, box = (g.flatten(0, 1) for g in goal)
    flat = tokens.flatten(0, 1)
    on = digit >= 0
    said = heads.head_colour(flat)
    weight = torch.ones(len(COLOURS) + 1)
    weight[-1] = 0.4
    loss = F.cross_entropy(said, colour, weight, ignore_index=-1)
    report = {"colour": (said[on].argmax(-1) == colour[on]).float().mean().item()}
    places = heads.head_box(flat[on])
    off = (places - box[on].float()).abs()
    loss = loss + 4 * F.smooth_l1_loss(places, box[on].float(), beta=0.02)
    report["box"] = off.mean().item()
    if close:
        read = heads.head_digit(flat[on])
        loss = loss + F.cross_entropy(read, digit[on])
        report["digit"] = (read.argmax(-1) == digit[on]).float().mean().item()
    return loss, report


SIZES = [(224, 128), (192, 128), (192, 128), (192, 128), (160, 160), (160, 128)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--close", type=int, default=32, help="close views a step")
    parser.add_argument("--far", type=int, default=24, help="whole views a step")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    visual = build(config(64, PLACEHOLDER_IDS), args.seed).model.visual
    heads, deep_heads = Heads(), Heads()
    modules = nn.ModuleDict({"visual": visual, "heads": heads, "deep_heads": deep_heads})
    opt = Optimisers(modules.named_parameters(), lr=args.lr, steps=args.steps)
    start = 0
    if args.out.exists():
        saved = torch.load(args.out, weights_only=False)
        modules.load_state_dict(saved["modules"])
        if saved["step"] < args.steps:
            opt.load(saved["optimisers"])
        start = saved["step"]
        print("resumed at", start, flush=True)
    caches = {name: Cache(args.cache, name) for name in ("crowd", "flock", "whole")}
    began, seen = time.time(), {}
    for step in range(start, args.steps):
        rng = np.random.default_rng((args.seed, step))
        if step % 200 == 0:
            for cache in caches.values():
                cache.refresh()
        size = SIZES[rng.integers(len(SIZES))]
        pixels, signs = window(rng, *caches["crowd"].draw(rng, args.close), size)
        goal = targets(signs, size[1] // 32, size[0] // 32)
        far_name = "whole" if caches["whole"].pixels and rng.random() < 0.6 else "flock"
        far_pixels, far_signs = caches[far_name].draw(rng, args.far)
        far_goal = targets(far_signs, 4, 7)
        total = 0.0
        for close, px, aim in ((True, pixels, goal), (False, far_pixels, far_goal)):
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                tokens, deep = see(visual, torch.from_numpy(px))
            loss, report = losses(heads, tokens.float(), aim, close)
            deep_loss, _ = losses(deep_heads, deep.float(), aim, close)
            (loss + 0.3 * deep_loss).backward()
            total += loss.item()
            for key, value in report.items():
                name = ("close " if close else f"{far_name} ") + key
                seen[name] = 0.97 * seen.get(name, value) + 0.03 * value
        opt.step(step)
        if step % 50 == 0:
            line = "  ".join(f"{k} {v:.3f}" for k, v in sorted(seen.items()))
            print(f"{step} loss {total:.3f}  {line}  {time.time() - began:.0f}s", flush=True)
        if (step + 1) % 500 == 0 or step + 1 == args.steps:
            part = args.out.with_suffix(".part")
            torch.save(
                {"step": step + 1, "modules": modules.state_dict(), "optimisers": opt.state()}, part
            )
            part.rename(args.out)


if __name__ == "__main__":
    main()
