"""Stage 2: the language model learns all four roles on what the (frozen) vision tower sees.

The tower's features of every image in the episode caches are computed once. Two small bridges, linear maps that
are folded into the mergers on export, carry them into the language model's space.
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
from episodes import Episode, load_chunks
from model import build, config, see
from optim import Optimisers
from speech import Batch, Seen, collate, focus_loss, hidden_at, loss_of
from student import Student, colour_heads, number_tokens, start_bridge, start_embeddings
from teacher import MIXTURE, Teacher, images_of
from tokenizer import build_tokenizer, special_ids
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel
from views import COLOURS
from vision import Heads

from p2r_bench.adapter import TwoStage, load_profile


@torch.no_grad()
def look(visual: Qwen3VLVisionModel, chunk: list[Episode], number: int) -> dict[Key, Seen]:
    """Features of every image of a chunk, in half precision."""
    by_size: dict[tuple[int, ...], list[tuple[Key, np.ndarray]]] = defaultdict(list)
    for e, episode in enumerate(chunk):
        for name, pixels in images_of(episode).items():
            by_size[pixels.shape].append(((number, e, name), pixels))
    out: dict[Key, Seen] = {}
    for (height, width, _), items in by_size.items():
        for start in range(0, len(items), 128):
            part = items[start : start + 128]
            with torch.autocast("cpu", torch.bfloat16):
                merged, deep = see(visual, torch.from_numpy(np.stack([p for _, p in part])))
            for (key, _), m, d in zip(part, merged.half(), deep.half(), strict=True):
                out[key] = Seen(m, d, height // 32, width // 32)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=Path, required=True)
    parser.add_argument("--vision", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--chunks", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--keep", type=int, nargs="*", default=[], help="steps whose checkpoint is kept"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    tokenizer = build_tokenizer()
    ids = special_ids(tokenizer)
    model = build(config(-(-tokenizer.get_vocab_size() // 64) * 64, ids), args.seed)
    visual, lm = model.model.visual, model.model.language_model
    stage1 = torch.load(args.vision, weights_only=False)["modules"]
    heads, deep_heads = Heads(), Heads()
    taught = nn.ModuleDict({"visual": visual, "heads": heads, "deep_heads": deep_heads})
    taught.load_state_dict(stage1)
    numbers = number_tokens(tokenizer)
    start_embeddings(lm.embed_tokens, tokenizer, numbers)

    began = time.time()
    chunks = load_chunks(args.episodes, args.chunks)
    store: dict[Key, Seen] = {}
    kept = args.vision.with_suffix(".seen.pt")
    if kept.exists() and kept.stat().st_mtime > args.vision.stat().st_mtime:
        store = torch.load(kept, weights_only=False)
    else:
        for n, chunk in enumerate(chunks):
            store.update(look(visual, chunk, n))
        torch.save(store, kept)
    print(f"{len(chunks)} chunks, {len(store)} images, {time.time() - began:.0f}s", flush=True)
    some = [store[key] for key in list(store)[:2000]]
    student = Student(
        lm,
        start_bridge(
            lm.embed_tokens, heads, tokenizer, torch.cat([s.merged for s in some]).float()
        ),
        start_bridge(
            lm.embed_tokens, deep_heads, tokenizer, torch.cat([s.deep for s in some]).float()
        ),
    )
    colour_heads(lm, tokenizer)
    opt = Optimisers(
        student.named_parameters(), lr=args.lr, steps=args.steps, decay=0.05, scale={"bridge": 0.5}
    )
    start = 0
    if args.out.exists():
        saved = torch.load(args.out, weights_only=False)
        student.load_state_dict(saved["student"])
        opt.load(saved["optimisers"])
        start = saved["step"]
        print("resumed at", start, flush=True)

    teacher = Teacher(Speaker(tokenizer, TwoStage(load_profile("tiny"))), chunks)
    kinds = list(MIXTURE)
    words = [tokenizer.encode(c).ids[0] for c in COLOURS]
    seen: dict[str, float] = {}
    began = time.time()
    for step in range(start, args.steps):
        rng = random.Random(f"joint/{args.seed}/{step}")
        shares = dict(MIXTURE)
        shares["text"] += 1.0 * max(0.0, 1 - step / 300)
        drawn = rng.choices(kinds, [shares[k] for k in kinds], k=args.batch)
        examples = [teacher.draw(rng, kind) for kind in drawn]
        order = sorted(range(args.batch), key=lambda i: len(examples[i].ids))
        spread = 25 - 19 * min(1.0, step / (0.6 * args.steps))
        for half in (order[: args.batch // 2], order[args.batch // 2 :]):
            batch = collate(
                [examples[i] for i in half], store, teacher.speaker.pad, ids["<|endoftext|>"]
            )
            with torch.autocast("cpu", torch.bfloat16):
                hidden, glimpse = hidden_at(
                    lm, batch, student.bridge(batch.merged), student.deep_bridge(batch.deep)
                )
                logits = F.linear(hidden, lm.embed_tokens.weight).float()
            loss = loss_of(logits, batch, numbers, spread)
            total = loss
            if glimpse is not None:
                extra, known, there = focus_loss(
                    glimpse, batch, lm.embed_tokens.weight[words].detach()
                )
                total = loss + extra
                for key, value in (("whose", known), ("looks", there)):
                    seen[key] = 0.95 * seen.get(key, value) + 0.05 * value
            (total * 0.5).backward()  # type: ignore[no-untyped-call] # torch
            note(seen, [drawn[i] for i in half], batch, logits.detach(), numbers, loss.item())
        opt.step(step)
        if step % 25 == 0:
            line = "  ".join(f"{k} {v:.3f}" for k, v in sorted(seen.items()))
            print(f"{step}  {line}  {time.time() - began:.0f}s", flush=True)
        if (step + 1) % 200 == 0 or step + 1 == args.steps or step + 1 in args.keep:
            state = {"step": step + 1, "student": student.state_dict(), "optimisers": opt.state()}
            part = args.out.with_suffix(".part")
            torch.save(state, part)
            part.rename(args.out)
            if step + 1 in args.keep:
                torch.save(state, args.out.with_suffix(f".{step + 1}.pt"))


def note(
    seen: dict[str, float],
    drawn: list[str],
    batch: Batch,
    logits: Tensor,
    numbers: Tensor,
    loss: float,
) -> None:
    """Moving averages: share of heavy tokens right per kind, and the coordinates' mean error."""
    said = logits.argmax(-1)
    values = {"loss": loss}
    on = batch.place >= 0
    if on.any():
        values["box"] = (
            (logits[on][:, numbers].argmax(-1) - batch.place[on]).abs().float().mean().item()
        )
    heavy = (batch.weight >= 0.9) & ~on
    right = (said == batch.target).float()
    kind_of = np.asarray(drawn, dtype=object)[batch.example.numpy()]
    for kind in set(drawn):
        mask = heavy & torch.from_numpy(kind_of == kind)
        if mask.any():
            values[kind] = right[mask].mean().item()
            digits = mask & torch.isin(batch.target, numbers[:10])
            if kind in ("reason", "think_crop") and digits.any():
                values[kind + " read"] = right[digits].mean().item()
    for key, value in values.items():
        seen[key] = 0.95 * seen.get(key, value) + 0.05 * value


if __name__ == "__main__":
    main()
