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
from dialogue import (
    Example,
    Speaker,
    boxes_said,
    evidence,
    reasoning_said,
    sample_of,
)
from episodes import Asked, Episode, load_chunks
from model import WIDTH, build, config, see
from optim import Optimisers
from speech import Seen, collate, focus_loss, hidden_at, loss_of
from tokenizer import SPECIAL, build_tokenizer
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from views import COLOURS
from vision import Heads, targets

from p2r_bench.adapter import TwoStage, load_profile
from p2r_bench.synth.rows import pose
from p2r_bench.synth.scene import Sign
from p2r_bench.types import Evidence

Key = tuple[int, int, str]
"""Chunk, episode and image: ``w`` whole, ``a0`` annotated of question 0, ``c0.1`` its second crop."""

MIXTURE = {
    "perceive": 0.45,
    "reason": 0.28,
    "think_crop": 0.05,
    "answer_crop": 0.06,
    "think_whole": 0.04,
    "answer_whole": 0.03,
    "reason_whole": 0.02,
    "text": 0.07,
}


def images_of(episode: Episode) -> dict[str, np.ndarray]:
    """The images of an episode by name."""
    out = {"w": episode.whole}
    for q, asked in enumerate(episode.asked):
        out[f"a{q}"] = asked.annotated
        out.update({f"c{q}.{k}": crop for k, crop in enumerate(asked.crops)})
    return out


@torch.no_grad()
def look(visual: nn.Module, chunk: list[Episode], number: int) -> dict[Key, Seen]:
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


class Teacher:
    """Draws examples of every role from the episodes."""

    def __init__(self, speaker: Speaker, chunks: list[list[Episode]]) -> None:
        self.speaker, self.two, self.chunks = speaker, speaker.two, chunks

    def draw(self, rng: random.Random, kind: str) -> Example:
        """One example; its images are keys of the feature store."""
        number = rng.randrange(len(self.chunks))
        e = rng.randrange(len(self.chunks[number]))
        episode = self.chunks[number][e]
        if kind in ("reason", "think_crop", "answer_crop"):
            single = kind != "reason"
            q = rng.randrange(2) if single or rng.random() < 0.45 else 2
            asked = episode.asked[q]
            return self._close(rng, kind, asked, (number, e), q)
        question = pose(rng, episode.scene, rng.choice(("single", "cross")))
        sample = sample_of(question, rng.randrange(4), "4k", f"{number}/{e}")
        whole = [(number, e, "w")]
        if kind == "perceive":
            said = boxes_said(question.signs)
            example = self.speaker.example(self.two.perceive_request(sample), said, whole, coordinates=True)
            for k, position in enumerate(sorted(example.places)):
                sign = question.signs[k // 4]
                example.focus[position] = (COLOURS.index(sign.colour), tokens_of(sign, 4, 7))
            return example
        if kind == "answer_whole":
            request = self.two.single_request(sample, "answer")
            return self.speaker.example(request, [(sample.answer, 1.0)], whole)
        colours = [sign.colour for sign in question.signs]
        digits = [sign.digit for sign in question.signs]
        if kind == "text":
            if rng.random() < 0.3:
                digits = [rng.randrange(10) for _ in digits]
            said = reasoning_said(rng, colours, digits, dict(sample.options))
            request = self.two.single_request(sample, "think")
            blind = [(text, 0.0 if text.isdigit() and i in (3, 7) else w) for i, (text, w) in enumerate(said)]
            example = self.speaker.example(request, blind, [])
            drop = [i for i, token in enumerate(example.ids) if token == self.speaker.pad]
            example.ids = [t for t in example.ids if t != self.speaker.pad]
            example.weights = example.weights[len(drop) :]
            return example
        said = reasoning_said(rng, colours, digits, dict(sample.options))
        if kind == "think_whole":
            request = self.two.single_request(sample, "think")
        else:
            request = self.two.reason_request(sample, Evidence(parse_status="empty"))
        return self.speaker.example(request, said, whole)

    def _close(
        self, rng: random.Random, kind: str, asked: Asked, where: tuple[int, int], q: int
    ) -> Example:
        fresh = pose(random.Random(rng.random()), *self._fixed(asked))
        question = asked.question
        options = sorted(set(fresh.options) - {question.options[0]})
        rng.shuffle(options)
        question = type(question)(
            question.scene, question.category, question.signs, question.text,
            (question.options[0], *options[:3]),
        )  # fmt: skip
        sample = sample_of(question, rng.randrange(4), asked.resolution, "x")
        crops = [(*where, f"c{q}.{k}") for k in range(len(asked.crops))]
        colours = [sign.colour for sign in question.signs]
        digits = [sign.digit for sign in question.signs]
        if kind == "reason":
            shown = evidence(self.two, sample, asked.boxes)
            request = self.two.reason_request(sample, shown)
            said = reasoning_said(rng, colours, digits, dict(sample.options))
            return self.speaker.example(request, said, [(*where, f"a{q}"), *crops])
        # The crop is the whole image of a single call.
        rows, columns = asked.crops[0].shape[0] // 32, asked.crops[0].shape[1] // 32
        request = self.two.single_request(sample, "think" if kind == "think_crop" else "answer")
        if kind == "think_crop":
            said = reasoning_said(rng, colours, digits, dict(sample.options))
        else:
            said = [(sample.answer, 1.0)]
        example = self.speaker.example(request, said, crops)
        return resized(example, self.speaker.pad, rows * columns)

    @staticmethod
    def _fixed(asked: Asked) -> tuple:
        return asked.question.scene, asked.question.category


def tokens_of(sign: Sign, rows: int, columns: int) -> tuple[int, ...]:
    """Indices of the merged tokens a sign lies on for the most part of its share."""
    box = np.asarray([[[*sign.box, COLOURS.index(sign.colour), sign.digit]]], dtype=np.float32)
    colour = targets(box, rows, columns)[0][0]
    return tuple(torch.nonzero((colour >= 0) & (colour < len(COLOURS)))[:, 0].tolist())


def resized(example: Example, pad: int, tokens: int) -> Example:
    """The example with its one image's run of tokens made `tokens` long."""
    first = example.ids.index(pad)
    run = example.ids.count(pad)
    rest = slice(first + run, None)
    return Example(
        example.ids[:first] + [pad] * tokens + example.ids[rest],
        example.weights[:first] + [0.0] * tokens + example.weights[rest],
        example.images,
        {i + tokens - run: v for i, v in example.places.items()},
    )


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


def start_bridge(embed: nn.Embedding, heads: Heads, tokenizer: Tokenizer, sample: Tensor) -> nn.Linear:
    """A map that keeps the features' bulk and adds what the heads read: words as their embeddings, boxes
    along four directions.

    sample: [n, 192] features to normalise by.
    """
    words = [tokenizer.encode(c).ids[0] for c in COLOURS] + [tokenizer.encode(str(d)).ids[0] for d in range(10)]
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


def colour_heads(lm: nn.Module, tokenizer: Tokenizer) -> None:
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=Path, required=True)
    parser.add_argument("--vision", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--chunks", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=int, nargs="*", default=[], help="steps whose checkpoint is kept")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    tokenizer = build_tokenizer()
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL}
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
        start_bridge(lm.embed_tokens, heads, tokenizer, torch.cat([s.merged for s in some]).float()),
        start_bridge(lm.embed_tokens, deep_heads, tokenizer, torch.cat([s.deep for s in some]).float()),
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
            batch = collate([examples[i] for i in half], store, teacher.speaker.pad, ids["<|endoftext|>"])
            with torch.autocast("cpu", torch.bfloat16):
                hidden, glimpse = hidden_at(
                    lm, batch, student.bridge(batch.merged), student.deep_bridge(batch.deep)
                )
                logits = F.linear(hidden, lm.embed_tokens.weight).float()
            loss = loss_of(logits, batch, numbers, spread)
            total = loss
            if glimpse is not None:
                extra, known, there = focus_loss(glimpse, batch, lm.embed_tokens.weight[words].detach())
                total = loss + extra
                for key, value in (("whose", known), ("looks", there)):
                    seen[key] = 0.95 * seen.get(key, value) + 0.05 * value
            (total * 0.5).backward()
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
    seen: dict[str, float], drawn: list[str], batch, logits: Tensor, numbers: Tensor, loss: float
) -> None:
    """Moving averages: share of heavy tokens right per kind, and the coordinates' mean error."""
    said = logits.argmax(-1)
    values = {"loss": loss}
    on = batch.place >= 0
    if on.any():
        values["box"] = (logits[on][:, numbers].argmax(-1) - batch.place[on]).abs().float().mean().item()
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
