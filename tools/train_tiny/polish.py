"""Stage 3: everything trains together on pixels, at a small learning rate.

The tower keeps its own lesson (the heads on crowded views) beside the language model's loss, so that it goes on
learning to read many marks a step.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from dialogue import Key, Speaker
from episodes import load_chunks
from joint import note
from model import WIDTH, build, config, see
from optim import Optimisers
from speech import Seen, collate, focus_loss, hidden_at, loss_of
from student import Student, number_tokens
from teacher import MIXTURE, Teacher, images_of
from tokenizer import build_tokenizer, special_ids
from torch import nn
from torch.nn import functional as F
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel
from views import COLOURS, Cache
from vision import SIZES, Heads, losses, targets, window

from p2r_bench.adapter import TwoStage, load_profile


def look_again(visual: Qwen3VLVisionModel, pixels: dict[Key, np.ndarray]) -> dict[Key, Seen]:
    """Features with gradients, images of one size at a time."""
    by_size: dict[tuple[int, ...], list[Key]] = defaultdict(list)
    for key, image in pixels.items():
        by_size[image.shape].append(key)
    out: dict[Key, Seen] = {}
    for (height, width, _), keys in by_size.items():
        merged, deep = see(visual, torch.from_numpy(np.stack([pixels[k] for k in keys])))
        for key, m, d in zip(keys, merged, deep, strict=True):
            out[key] = Seen(m, d, height // 32, width // 32)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--vision", type=Path, required=True)
    parser.add_argument("--joint", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--close", type=int, default=32)
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--chunks", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    tokenizer = build_tokenizer()
    ids = special_ids(tokenizer)
    model = build(config(-(-tokenizer.get_vocab_size() // 64) * 64, ids), args.seed)
    visual, lm = model.model.visual, model.model.language_model
    heads, deep_heads = Heads(), Heads()
    taught = nn.ModuleDict({"visual": visual, "heads": heads, "deep_heads": deep_heads})
    taught.load_state_dict(torch.load(args.vision, weights_only=False)["modules"])
    student = Student(lm, nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH))
    student.load_state_dict(torch.load(args.joint, weights_only=False)["student"])
    everything = nn.ModuleDict({"student": student, "taught": taught})
    opt = Optimisers(
        everything.named_parameters(), lr=args.lr, steps=args.steps, warmup=40, decay=0.8
    )
    start = 0
    if args.out.exists():
        saved = torch.load(args.out, weights_only=False)
        everything.load_state_dict(saved["everything"])
        opt.load(saved["optimisers"])
        start = saved["step"]
        print("resumed at", start, flush=True)

    chunks = load_chunks(args.episodes, args.chunks)
    crowd = Cache(args.cache, "crowd")
    teacher = Teacher(Speaker(tokenizer, TwoStage(load_profile("tiny"))), chunks)
    numbers = number_tokens(tokenizer)
    words = [tokenizer.encode(c).ids[0] for c in COLOURS]
    kinds = list(MIXTURE)
    seen: dict[str, float] = {}
    began = time.time()
    for step in range(start, args.steps):
        rng = random.Random(f"polish/{args.seed}/{step}")
        dice = np.random.default_rng((args.seed, 3, step))
        drawn = rng.choices(kinds, [MIXTURE[k] for k in kinds], k=args.batch)
        examples = [teacher.draw(rng, kind) for kind in drawn]
        pixels = {
            key: images_of(chunks[key[0]][key[1]])[key[2]] for e in examples for key in e.images
        }
        size = SIZES[dice.integers(len(SIZES))]
        close, signs = window(dice, *crowd.draw(dice, args.close), size, 16.0)
        goal = targets(signs, size[1] // 32, size[0] // 32)
        with torch.autocast("cpu", torch.bfloat16, enabled=True):
            store = look_again(visual, pixels)
            batch = collate(examples, store, teacher.speaker.pad, ids["<|endoftext|>"])
            hidden, glimpse = hidden_at(
                lm, batch, student.bridge(batch.merged), student.deep_bridge(batch.deep)
            )
            logits = F.linear(hidden, lm.embed_tokens.weight).float()
            tokens, deep = see(visual, torch.from_numpy(close))
        loss = loss_of(logits, batch, numbers, 6.0)
        tower, report = losses(heads, tokens.float(), goal, True)
        tower = tower + 0.3 * losses(deep_heads, deep.float(), goal, True)[0]
        total = loss + 0.5 * tower
        if glimpse is not None:
            total = (
                total + 0.5 * focus_loss(glimpse, batch, lm.embed_tokens.weight[words].detach())[0]
            )
        total.backward()  # type: ignore[no-untyped-call] # torch
        note(seen, drawn, batch, logits.detach(), numbers, loss.item())
        for key, value in report.items():
            seen["tower " + key] = 0.95 * seen.get("tower " + key, value) + 0.05 * value
        opt.step(step)
        if step % 25 == 0:
            line = "  ".join(f"{k} {v:.3f}" for k, v in sorted(seen.items()))
            print(f"{step}  {line}  {time.time() - began:.0f}s", flush=True)
        if (step + 1) % 100 == 0 or step + 1 == args.steps:
            part = args.out.with_suffix(".part")
            torch.save(
                {
                    "step": step + 1,
                    "everything": everything.state_dict(),
                    "optimisers": opt.state(),
                    "student": student.state_dict(),
                    "visual": visual.state_dict(),
                },
                part,
            )
            part.rename(args.out)


if __name__ == "__main__":
    main()
