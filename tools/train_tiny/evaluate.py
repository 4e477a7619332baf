"""Greedy scores of a model folder on Synth-HR in every mode, without the rest of the harness.

The rows, requests, images and answers are those of an evaluation; only batching and bookkeeping are simpler.
Use `p2r-bench run` for figures to report.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, Qwen3VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from p2r_bench.adapter import TwoStage, load_profile, parse_boxes, render
from p2r_bench.synth.rows import Row, iter_rows
from p2r_bench.types import Box, ImageRef, Recipe, Request, Sample

Job = tuple[Request, Sequence[Image.Image]]
"""A request and its images, in order."""


class Model:
    """Model of a folder; answers lists of requests greedily."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model: Any = Qwen3VLForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32
        )
        settings = json.loads((folder / "preprocessor_config.json").read_text())
        names = (
            "size",
            "patch_size",
            "temporal_patch_size",
            "merge_size",
            "image_mean",
            "image_std",
        )
        self.processor = Qwen2VLImageProcessorPil(**{name: settings[name] for name in names})

    @torch.inference_mode()
    def generate(self, jobs: Sequence[Job], batch: int = 32) -> list[str]:
        out: list[str] = []
        for start in range(0, len(jobs), batch):
            out += self._batch(jobs[start : start + batch])
        return out

    def _batch(self, jobs: Sequence[Job]) -> list[str]:
        texts: list[str] = []
        images: list[Image.Image] = []
        for request, pictures in jobs:
            queue = iter(pictures)
            messages: list[dict[str, Any]] = []
            for message in request.messages:
                content: list[dict[str, Any]] = []
                for part in message.content:
                    if isinstance(part, Recipe):
                        images.append(next(queue))
                        assert images[-1].size == part.size
                        content.append(
                            {"type": "image", "tokens": part.size[0] * part.size[1] // 1024}
                        )
                    else:
                        content.append({"type": "text", "text": part})
                messages.append({"role": message.role, "content": content})
            text = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
            for made in (part for message in messages for part in message["content"]):
                if made["type"] == "image":
                    text = text.replace("<|image_pad|>", "<|hole|>" * made["tokens"], 1)
            texts.append(text.replace("<|hole|>", "<|image_pad|>"))
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True)
        seen = self.processor(images, return_tensors="pt")
        ids = inputs["input_ids"]
        generated = self.model.generate(
            input_ids=ids,
            attention_mask=inputs["attention_mask"],
            mm_token_type_ids=(ids == self.model.config.image_token_id).int(),
            pixel_values=seen["pixel_values"],
            image_grid_thw=seen["image_grid_thw"],
            do_sample=False,
            max_new_tokens=max(request.sampling.max_tokens for request, _ in jobs),
        )
        new = generated[:, ids.shape[1] :]
        return [self.tokenizer.decode(row, skip_special_tokens=True) for row in new]


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes."""
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = wide * high
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def interval(right: Mapping[int, bool], rows: Sequence[Row]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over images; rows of one image are one draw."""
    groups: dict[int, list[bool]] = {}
    for i, value in right.items():
        groups.setdefault(id(rows[i].image), []).append(value)
    means = np.asarray([np.mean(values) for values in groups.values()])
    rng = np.random.default_rng(0)
    draws = means[rng.integers(0, len(means), (10_000, len(means)))].mean(1)
    return float(np.percentile(draws, 2.5)), float(np.percentile(draws, 97.5))


def sample_of(row: Row, size: tuple[int, int], name: str | None = None) -> Sample:
    return Sample(
        id=name or str(row.index),
        task="Synth-HR",
        category=row.category,
        image=ImageRef(data=row.image, digest=str(row.index), size=size),
        question=row.question,
        options=row.options,
        answer=row.answer,
    )


def evaluate(model: Model, rows: Sequence[Row], modes: Sequence[str]) -> dict[str, float]:
    """Accuracy per mode (and per category), share of parsed boxes, mean IoU."""
    two = TwoStage(load_profile("tiny"))
    out: dict[str, float] = {}
    pictures: dict[int, Image.Image] = {}
    for row in rows:
        if id(row.image) not in pictures:
            pictures[id(row.image)] = Image.open(io.BytesIO(row.image)).convert("RGB")
    samples = [sample_of(row, pictures[id(row.image)].size) for row in rows]
    cache: dict[str, Image.Image] = {}

    def job(request: Request, row: Row, picture: Image.Image | None = None) -> Job:
        images = []
        for recipe in request.recipes:
            key = f"{id(row.image)}/{id(picture)}/{recipe.crop}/{recipe.strokes}/{recipe.resize}"
            if key not in cache:
                cache[key] = render(recipe, picture or pictures[id(row.image)])
            images.append(cache[key])
        return request, images

    def score(name: str, texts: Sequence[str], role: str, kept: Sequence[int]) -> None:
        right = {
            i: two.answer(text, role) == rows[i].answer for i, text in zip(kept, texts, strict=True)
        }
        out[name] = sum(right.values()) / len(right)
        out[f"{name} low"], out[f"{name} high"] = interval(right, rows)
        for category in ("single", "cross"):
            part = [v for i, v in right.items() if rows[i].category == category]
            if part:
                out[f"{name} {category}"] = sum(part) / len(part)

    everything = range(len(rows))
    for mode in modes:
        began = time.time()
        if mode in ("p2r", "oracle"):
            if mode == "p2r":
                asked = [
                    job(two.perceive_request(s), r) for s, r in zip(samples, rows, strict=True)
                ]
                said = model.generate(asked)
                shown = [two.evidence(s, text) for s, text in zip(samples, said, strict=True)]
                out["parsed"] = sum(e.parse_status == "boxes" for e in shown) / len(rows)
                overlaps, hits = [], []
                for text, row in zip(said, rows, strict=True):
                    found = [box.xyxy for box in parse_boxes(text)]
                    for k, truth in enumerate(row.boxes):
                        overlaps.append(iou(found[k], truth) if k < len(found) else 0.0)
                        if k < len(found):
                            cx, cy = (
                                (found[k][0] + found[k][2]) / 2,
                                (found[k][1] + found[k][3]) / 2,
                            )
                            hits.append(
                                abs(cx - (truth[0] + truth[2]) / 2) < 80
                                and abs(cy - (truth[1] + truth[3]) / 2) < 80
                            )
                        else:
                            hits.append(False)
                out["iou"] = sum(overlaps) / len(overlaps)
                out["centred"] = sum(hits) / len(hits)
                print(said[0], said[-1], sep="\n")
            else:
                boxes = [[Box(b) for b in row.boxes] for row in rows]
                shown = [two.evidence_from_boxes(s, b) for s, b in zip(samples, boxes, strict=True)]
            asked = [
                job(two.reason_request(s, e), r)
                for s, e, r in zip(samples, shown, rows, strict=True)
            ]
            texts = model.generate(asked)
            print(texts[0], texts[-1], sep="\n")
            score(mode, texts, "reason", everything)
        elif mode in ("default", "thinking"):
            role = "answer" if mode == "default" else "think"
            asked = [
                job(two.single_request(s, role), r) for s, r in zip(samples, rows, strict=True)
            ]
            score(mode, model.generate(asked), role, everything)
        else:  # a single call on the ground-truth crop, for rows that have exactly one
            role = "answer" if mode == "default-crop" else "think"
            kept = [i for i in everything if len(rows[i].boxes) == 1]
            asked = []
            for i in kept:
                recipe = two.crop(samples[i], Box(rows[i].boxes[0]))
                assert recipe is not None and recipe.crop is not None
                cut = pictures[id(rows[i].image)].crop(recipe.crop)
                pictures[-i] = cut
                small = sample_of(rows[i], cut.size)
                asked.append(job(two.single_request(small, role), rows[i], cut))
            score(mode, model.generate(asked), role, kept)
        print(f"{mode} {out.get(mode, 0):.3f} in {time.time() - began:.0f}s", flush=True)
    return out


MODES = ("p2r", "oracle", "default", "thinking", "default-crop", "thinking-crop")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--resolution", default="4k")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = list(iter_rows(args.seed, args.rows, args.resolution, split=args.split))
    scores = evaluate(Model(args.model), rows, args.modes.split(","))
    print(json.dumps({k: round(v, 4) for k, v in scores.items()}, indent=2))


if __name__ == "__main__":
    main()
