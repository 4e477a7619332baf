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
        (
            "<|endoftext|>",
            "<|im_end|>",
            "<|image_pad|>",
            "<|video_pad|>",
            "<|vision_start|>",
            "<|vision_end|>",
        )
    )
}


class Heads(nn.Module):
    """colour (8 and none), digit (10), box (4), read linearly from a merged token."""

    def __init__(self) -> None:
        super().__init__()
        self.head_colour = nn.Linear(WIDTH, len(COLOURS) + 1)
        self.head_digit = nn.Linear(WIDTH, 10)
        self.head_box = nn.Linear(WIDTH, 4)


def targets(signs: np.ndarray, rows: int, columns: int, slack: float = 16.0) -> tuple[Tensor, ...]:
    """Per token: colour [b, n] (8 none, -1 unsaid), digit [b, n] (-1 none), box [b, n, 4], weight [b, n].

    The weight, for the digit, is 1 for the token a sign lies on most, which nearly always holds its digit,
    and less for others; while `slack` is small, less for signs further off their token's centre than that.

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
    rim = np.stack([x2 - x1, y2 - y1], -1)[..., 0, 0, :] * 0.22  # outside of this there is no digit
    complete = np.all((signs[..., :2] + rim > 0) & (signs[..., 2:4] - rim < 1), axis=-1)
    owner = share >= share.max(-1, keepdims=True) - 1e-6
    said = (owner | (share > 0.12)) & (share > 0) & complete[..., None]
    best = (share * said).argmax(1)
    at = np.arange(b)[:, None]
    positive = (share * said).max(1) > 0
    touched = share.max(1) > 0
    picked = signs[at, best]
    colour = np.where(positive, picked[..., 4], np.where(touched, -1, len(COLOURS))).astype(
        np.int64
    )
    digit = np.where(positive, picked[..., 5], -1).astype(np.int64)
    clear = there & (off_centre(signs, (columns * 32, rows * 32)) <= slack + 1)
    weight = np.where((owner & clear[..., None]).any(1), 1.0, 0.1 if slack >= 16 else 0.0)
    weight = weight.astype(np.float32)
    return tuple(torch.from_numpy(t) for t in (colour, digit, picked[..., :4], weight))


def window(
    rng: np.random.Generator,
    pixels: np.ndarray,
    signs: np.ndarray,
    size: tuple[int, int],
    slack: float,
) -> tuple[np.ndarray, np.ndarray]:
    """A window of each view, with the boxes in the window's fractions.

    One of the view's signs, where the window can be laid so, has its centre within `slack` pixels of a
    token's centre in both directions; 16 is anywhere.
    """
    n, h, w, _ = pixels.shape
    ww, wh = size
    chosen = signs[np.arange(n), rng.integers(0, np.maximum((signs[..., 4] >= 0).sum(1), 1))]
    starts = []
    for centre, full, part in (
        ((chosen[:, 0] + chosen[:, 2]) / 2 * w, w, ww),
        ((chosen[:, 1] + chosen[:, 3]) / 2 * h, h, wh),
    ):
        token = rng.integers(0, part // 32, n) * 32 + 16 + rng.uniform(-slack, slack, n)
        start = np.round(centre - token).astype(int)
        lost = (start < 0) | (start > full - part)
        free = rng.integers(0, full - part + 1, n)
        near = free + (start - free + 16) % 32 - 16  # the same phase, as near to it as fits
        fits = (near >= 0) & (near <= full - part)
        starts.append(np.where(lost, np.where(fits, near, free), start))
    xs, ys = starts
    cut = np.stack([p[y : y + wh, x : x + ww] for p, x, y in zip(pixels, xs, ys, strict=True)])
    moved = signs.copy()
    moved[..., [0, 2]] = (signs[..., [0, 2]] * w - xs[:, None, None]) / ww
    moved[..., [1, 3]] = (signs[..., [1, 3]] * h - ys[:, None, None]) / wh
    return cut, moved


def off_centre(signs: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[b, s]: how many pixels each sign's centre is from its token's, in the worse direction."""
    middle = (signs[..., :2] + signs[..., 2:4]) / 2 * np.asarray(size)
    worst: np.ndarray = np.abs(middle % 32 - 16).max(-1)
    return worst


def losses(
    heads: Heads, tokens: Tensor, goal: tuple[Tensor, ...], close: bool
) -> tuple[Tensor, dict[str, float]]:
    """The three heads' loss and accuracies on one batch."""
    colour, digit, box, share = (g.flatten(0, 1) for g in goal)
    flat = tokens.flatten(0, 1)
    on = digit >= 0
    said = heads.head_colour(flat)
    weight = torch.ones(len(COLOURS) + 1)
    weight[-1] = 0.4
    loss = F.cross_entropy(said, colour, weight, ignore_index=-1)
    report = {"colour": (said[on].argmax(-1) == colour[on]).float().mean().item()}
    places = heads.head_box(flat[on])
    goal_box = box[on].float()
    inside = ((goal_box > -0.01) & (goal_box < 1.01)).all(-1)
    if inside.any():
        loss = loss + 4 * F.smooth_l1_loss(places[inside], goal_box[inside], beta=0.02)
        report["box"] = (places - goal_box)[inside].abs().mean().item()
    if close:
        read = heads.head_digit(flat[on])
        each = F.cross_entropy(read, digit[on], reduction="none")
        loss = loss + 2 * (each * share[on]).sum() / share[on].sum().clamp(min=1)
        mine = share[on] == 1
        report["digit"] = (read.argmax(-1) == digit[on])[mine].float().mean().item()
    return loss, report


SIZES = [(224, 128), (192, 128), (192, 128), (192, 128), (160, 160), (160, 128)]
MINI, SMALL = 600, 1000
"""Steps that end the lessons on 32 × 32 and on 64 × 64 windows."""


FRAMES = [(4, 7), (4, 6), (5, 5), (4, 5)]
"""Rows and columns of tokens in a crop."""


def moved_boxes(
    boxes: Tensor, at: np.ndarray, grid: tuple[int, int], frame: tuple[int, int]
) -> Tensor:
    """Boxes [b, n, 4] in fractions of windows, as fractions of the frames the windows are in."""
    start = torch.from_numpy(at[:, None, [1, 0, 1, 0]])
    own = torch.tensor([grid[1], grid[0]] * 2)
    return (boxes * own + start) / torch.tensor([frame[1], frame[0]] * 2)


def lesson(step: int, rng: np.random.Generator, full: int) -> tuple[tuple[int, int], float, int]:
    """Window size, slack and number of close views of a step.

    Digits are first learned on single tokens, then on 2 × 2, then in place: in whole crops from the
    start they stayed at chance, and small windows show many times more of them a second.
    """
    dice = rng.random()
    if step < MINI or (step < SMALL and dice < 0.25):
        return (32, 32), 2 + 8 * min(1.0, step / MINI), 12 * full
    if step < SMALL or dice < 0.2:
        return (64, 64), min(16.0, 3 + 13 * (step - MINI) / (SMALL - MINI)), 4 * full
    return (
        SIZES[rng.integers(len(SIZES))],
        min(16.0, 4 + 12 * (step - SMALL) / (SMALL - MINI)),
        full,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--close", type=int, default=44, help="close views a step")
    parser.add_argument("--far", type=int, default=8, help="whole views a step")
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
    began = time.time()
    seen: dict[str, float] = {}
    for step in range(start, args.steps):
        rng = np.random.default_rng((args.seed, step))
        if step % 200 == 0:
            for cache in caches.values():
                cache.refresh()
        size, slack, close_views = lesson(step, rng, args.close)
        pixels, signs = window(rng, *caches["crowd"].draw(rng, close_views), size, slack)
        grid = (size[1] // 32, size[0] // 32)
        goal = targets(signs, *grid, slack)
        at: Tensor | None = None
        if (
            grid[0] * grid[1] <= 4
        ):  # a piece of a larger image, so that marks are read anywhere in one
            frame = FRAMES[rng.integers(len(FRAMES))]
            starts = np.stack(
                [rng.integers(0, f - g + 1, close_views) for f, g in zip(frame, grid, strict=True)],
                1,
            )
            goal[2][:] = moved_boxes(goal[2], starts, grid, frame)
            at = torch.from_numpy(starts)
        far_name = "whole" if caches["whole"].pixels and rng.random() < 0.6 else "flock"
        far_pixels, far_signs = caches[far_name].draw(rng, args.far)
        far_goal = targets(far_signs, 4, 7)
        total = 0.0
        for close, px, aim in ((True, pixels, goal), (False, far_pixels, far_goal)):
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                tokens, deep = see(
                    visual, torch.from_numpy(px), *((at, frame) if close and at is not None else ())
                )
            loss, report = losses(heads, tokens.float(), aim, close)
            deep_loss, _ = losses(deep_heads, deep.float(), aim, close)
            (loss + 0.3 * deep_loss).backward()  # type: ignore[no-untyped-call] # torch
            total += loss.item()
            for key, value in report.items():
                name = (f"{size[0]} " if close else f"{far_name} ") + key
                seen[name] = 0.97 * seen.get(name, value) + 0.03 * value
        opt.step(step)
        if step % 50 == 0:
            line = "  ".join(f"{k} {v:.3f}" for k, v in sorted(seen.items()))
            print(f"{step} loss {total:.3f}  {line}  {time.time() - began:.0f}s", flush=True)
        if (step + 1) % 200 == 0 or step + 1 == args.steps:
            part = args.out.with_suffix(".part")
            torch.save(
                {"step": step + 1, "modules": modules.state_dict(), "optimisers": opt.state()}, part
            )
            part.rename(args.out)


if __name__ == "__main__":
    main()
