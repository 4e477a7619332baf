"""Tries hyper-parameters of the demonstration's perceiver stage at a fraction of its cost.

    python -m tools.tune_demo --learning-rate 1e-4 --beta 0.01 --steps 120

The policy, the rollouts and the updates are the trainer's own. Only the frozen reasoner is replaced by geometry: a rollout is
right when crops of moderate size show all signs, and otherwise by luck as often as the options allow. No image is rendered after the
first look, so a step costs about a fifth. Scenes are those of the training and validation splits; the test split
stays unseen. What is chosen here must be confirmed by `make train-demo`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import torch
from p2r_bench_pra_grpo.backends.embedded.frozen import open_model
from p2r_bench_pra_grpo.backends.embedded.pictures import Pictures
from p2r_bench_pra_grpo.backends.embedded.policy import Policy
from p2r_bench_pra_grpo.backends.embedded.prompts import Asked, Prompts
from p2r_bench_pra_grpo.backends.embedded.rollouts import Rollout, sample_groups
from p2r_bench_pra_grpo.backends.embedded.settings import Settings
from p2r_bench_pra_grpo.backends.embedded.training import Training
from p2r_bench_pra_grpo.backends.embedded.update import Learner
from p2r_bench_pra_grpo.config import GRPO, Config, load_config, profile_of
from p2r_bench_pra_grpo.data.load import load_samples
from p2r_bench_pra_grpo.reward import overlapping
from p2r_bench_pra_grpo.stage import Reward, Stage

from p2r_bench.adapter import TwoStage
from p2r_bench.bundled import resolve_model
from p2r_bench.types import Evidence, Prediction, Sample, Sampling, Verdict

LUCK = 0.27
"""Share of rows that are right though the signs were not shown: four options, none of which is `no answer`."""
SHOWN = 0.9
"""Share of a sign's area that a crop must hold."""
WIDEST = 0.5
"""Share of the image's width or height above which a crop magnifies too little."""


class Geometry:
    """Rewards from boxes and ground truth; stands where the trainer's `Rewards` stands."""

    def __init__(self, two: TwoStage) -> None:
        self._two = two

    async def of(
        self, groups: Sequence[tuple[Asked, Any, Sequence[Rollout]]], seeds: Sequence[Sequence[int]]
    ) -> list[list[Reward]]:
        return [
            [
                self._one(asked.sample, rollout, seed)
                for rollout, seed in zip(rollouts, own, strict=True)
            ]
            for (asked, _, rollouts), own in zip(groups, seeds, strict=True)
        ]

    def _one(self, sample: Sample, rollout: Rollout, seed: int) -> Reward:
        evidence = self._two.evidence(sample, rollout.text)
        right = shows(sample, evidence) or random.Random(f"luck/{seed}").random() < LUCK
        overlap = overlapping(evidence.boxes, 0.5)
        terms = {"answer": float(right), "overlap": float(overlap), "label": 0.0}
        prediction = Prediction(sample.id, evidence=evidence)
        verdict = Verdict(sample.id, "geometry", "1", "", correct=right)
        return Reward(0.0 if overlap else float(right), terms, prediction, verdict)


def shows(sample: Sample, evidence: Evidence) -> bool:
    """Return True if every sign of the question lies in a crop that magnifies it."""
    width, height = sample.image.size or (1, 1)
    crops = [
        recipe.crop
        for recipe in evidence.crops
        if recipe.crop is not None
        and recipe.crop[2] - recipe.crop[0] < WIDEST * width
        and recipe.crop[3] - recipe.crop[1] < WIDEST * height
    ]

    def inside(xyxy: tuple[float, float, float, float], crop: tuple[int, int, int, int]) -> bool:
        x1, x2 = (x * width / 1000 for x in xyxy[::2])
        y1, y2 = (y * height / 1000 for y in xyxy[1::2])
        across = min(x2, crop[2]) - max(x1, crop[0])
        down = min(y2, crop[3]) - max(y1, crop[1])
        return across > 0 and down > 0 and across * down >= SHOWN * (x2 - x1) * (y2 - y1)

    return all(any(inside(box.xyxy, crop) for crop in crops) for box in sample.boxes or ())


def greedy(policy: Policy, prompts: Prompts, two: TwoStage, samples: Sequence[Sample]) -> float:
    """Share of samples whose likeliest boxes show what must be seen."""
    hot, policy.temperature = policy.temperature, 1e-3
    shown = 0
    for start in range(0, len(samples), 100):
        part = [
            a
            for a in prompts.of(samples[start : start + 100], [None] * 100)
            if isinstance(a, Asked)
        ]
        seen = [a.seen for a in part if a.seen is not None]
        drawn = sample_groups(
            policy,
            [a.prompt for a in part],
            seen,
            Sampling(temperature=1.0, max_tokens=48),
            [[0]] * len(part),
        )
        shown += sum(
            shows(a.sample, two.evidence(a.sample, group[0].text))
            for a, group in zip(part, drawn, strict=True)
        )
    policy.temperature = hot
    return shown / len(samples)


def scenes(config: Config, split: str, seed: int, rows: int) -> list[Sample]:
    """Probed samples of a split."""
    params = {"split": split, "seed": seed, "rows": rows}
    return load_samples(replace(config, data=(replace(config.data[0], params=params),)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--beta", type=float)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--mini-batch-size", type=int)
    parser.add_argument("--num-generations", type=int)
    parser.add_argument("--num-iterations", type=int, default=1)
    parser.add_argument("--warmup-steps", type=int, default=0)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--every", type=int, default=30, help="steps between lines")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        tune(args, Path(folder))


def tune(args: argparse.Namespace, folder: Path) -> None:
    config = load_config({"preset": "demo", "out": str(folder)})
    own = {k: v for k, v in vars(args).items() if k in GRPO.__dataclass_fields__ and v is not None}
    grpo = replace(config.grpo_for("perceiver"), **own, max_steps=args.steps, num_epochs=10_000)
    if args.batch_size and not args.mini_batch_size:
        grpo = replace(grpo, mini_batch_size=args.batch_size)
    own = {"num_iterations": args.num_iterations, "warmup_steps": args.warmup_steps}
    settings = Settings(**{**config.embedded, **own})
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    train = scenes(config, "train", 101, 1200)
    held_out = scenes(config, "validation", 0, 400)
    start, two = Path(resolve_model(config.model)), TwoStage(profile_of(config))
    loaded, builder = open_model(start, device="cpu", dtype="float32")
    policy = Policy(loaded)
    reference = Policy(open_model(start, device="cpu", dtype="float32")[0])
    pictures = Pictures([*train, *(replace(s, id=f"validation/{s.id}") for s in held_out)])
    held_out = [replace(s, id=f"validation/{s.id}") for s in held_out]
    prompts = Prompts("perceiver", two, grpo, policy, builder, pictures)
    stage = Stage(1, "perceiver", start, start, folder, config.seed)
    learner = Learner(policy, reference, grpo, settings)
    geometry: Any = Geometry(two)
    training = Training(stage, grpo, settings, train, two, learner, prompts, geometry, None)
    run(training, args, lambda: greedy(policy, prompts, two, held_out))
    pictures.close()


def run(training: Training, args: argparse.Namespace, score: Any) -> None:

    print(f"start: {100 * score():.1f} % shown greedily", flush=True)
    began, rows = time.time(), []
    for step in range(1, args.steps + 1):
        rows.append(SimpleNamespace(**asyncio.run(training.step(step)).row))
        if step % args.every == 0:
            part = rows[-args.every :]
            mean = {
                k: sum(getattr(r, k) for r in part) / len(part)
                for k in ("reward_mean", "kl", "entropy")
            }
            means = ", ".join(f"{k} {v:.3f}" for k, v in mean.items())
            print(
                f"{step}: {means}; {100 * score():.1f} % shown greedily, {time.time() - began:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
