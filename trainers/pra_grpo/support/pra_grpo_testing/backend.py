"""A backend without a model: its policy's texts follow from seeds, its weights from the rewards."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from p2r_bench_pra_grpo.config import Config, profile_of
from p2r_bench_pra_grpo.data.mixing import epoch_order
from p2r_bench_pra_grpo.metrics import ROLLOUTS, StepFile, rollout_row, step_facts
from p2r_bench_pra_grpo.reward import Rewarder
from p2r_bench_pra_grpo.rewarding import make_rewarder
from p2r_bench_pra_grpo.stage import Frozen, NoReward, Reward, Stage, View

from p2r_bench.adapter import TwoStage
from p2r_bench.atomic import replacing
from p2r_bench.engines.scripted import by_digest
from p2r_bench.errors import EngineError
from p2r_bench.types import Completion, Request, Sample
from pra_grpo_testing.data import write_model


class ScriptedBackend:
    """Goes through everything that a backend does but learning, and leaves the same after any interruption."""

    name = "scripted"

    def __init__(self, config: Config) -> None:
        self.config = config

    def plan(self, stage: Stage) -> Sequence[Mapping[str, Any]]:
        """See `Backend.plan`."""
        return [
            {"step": "train", "does": "nothing much", "files": [str(stage.metrics)]},
            {"step": "merge", "does": "writes a folder", "files": [str(stage.model)]},
        ]

    def facts(self, stage: Stage) -> Mapping[str, Any]:
        """See `Backend.facts`."""
        return {"learned": False}

    def train(
        self, stage: Stage, samples: Sequence[Sample], frozen: Frozen | None, view: View
    ) -> None:
        """See `Backend.train`."""
        asyncio.run(self._train(stage, samples, frozen, view))

    async def _train(
        self, stage: Stage, samples: Sequence[Sample], frozen: Frozen | None, view: View
    ) -> None:
        grpo = self.config.grpo_for(stage.role)
        rewarder = make_rewarder(self.config, profile_of(self.config), samples)
        steps = grpo.max_steps or grpo.num_epochs * math.ceil(len(samples) / grpo.batch_size)
        done, weights = _read(stage)
        metrics, rollouts = StepFile(stage.metrics), StepFile(stage.rollouts, ROLLOUTS)
        metrics.keep(done)
        rollouts.keep(done)
        if done >= steps:
            return
        if frozen is not None:
            await frozen.__aenter__()
        try:
            for step in range(done + 1, steps + 1):
                order = epoch_order(len(samples), stage.seed, step)[: grpo.batch_size]
                groups = [
                    (samples[n], await self._group(stage, step, samples[n], rewarder, frozen))
                    for n in order
                ]
                row = {"step": step, "round": stage.round, "role": stage.role}
                row |= step_facts(stage.role, groups)
                metrics.append(row)
                rollouts.append(
                    *(
                        {**rollout_row(stage, step, n, sample, reward), "created": ""}
                        for sample, group in groups
                        for n, reward in enumerate(group)
                        if reward is not None
                    )
                )
                values = [r and r.value for _, group in groups for r in group]
                weights = hashlib.sha256(f"{weights}:{values}".encode()).hexdigest()
                _write(stage, step, weights)
                view(row)
        finally:
            if frozen is not None:
                await frozen.__aexit__(None, None, None)

    async def _group(
        self, stage: Stage, step: int, sample: Sample, rewarder: Rewarder, frozen: Frozen | None
    ) -> list[Reward | None]:
        count = self.config.grpo_for(stage.role).num_generations
        return [
            await self._rollout(stage, sample, rewarder, frozen, 1000 * stage.seed + 10 * step + n)
            for n in range(count)
        ]

    async def _rollout(
        self, stage: Stage, sample: Sample, rewarder: Rewarder, frozen: Frozen | None, seed: int
    ) -> Reward | None:
        two = TwoStage(rewarder.profile)
        try:
            if stage.role == "perceiver":
                assert frozen is not None
                rollout = _said(two.perceive_request(sample, temperature=1.0, seed=seed))
                return await rewarder.perceiver(sample, rollout, frozen.ask)
            if stage.role == "reasoner":
                assert frozen is not None
                boxes = await frozen.ask(two.perceive_request(sample))
                request = two.reason_request(
                    sample, two.evidence(sample, boxes.text), temperature=1.0, seed=seed
                )
                return await rewarder.reasoner(sample, boxes, _said(request))
            request = two.single_request(sample, "think", temperature=1.0, seed=seed)
            return await rewarder.baseline(sample, _said(request))
        except (EngineError, NoReward):
            return None

    def merge(self, stage: Stage) -> Path:
        """See `Backend.merge`."""
        _, weights = _read(stage)
        beside = stage.model.with_name(".model.tmp")
        shutil.rmtree(beside, ignore_errors=True)
        write_model(beside, [int(weights[n : n + 2], 16) / 255 for n in range(0, 32, 2)])
        shutil.rmtree(stage.model, ignore_errors=True)
        beside.rename(stage.model)
        return stage.model


def _said(request: Request) -> Completion:
    return Completion(by_digest(request), request=request)


def _checkpoint(stage: Stage) -> Path:
    return stage.folder / "checkpoint.json"


def _read(stage: Stage) -> tuple[int, str]:
    if not _checkpoint(stage).is_file():
        return 0, hashlib.sha256((stage.start / "model.safetensors").read_bytes()).hexdigest()
    content = json.loads(_checkpoint(stage).read_text("utf-8"))
    return content["step"], content["weights"]


def _write(stage: Stage, step: int, weights: str) -> None:
    with replacing(_checkpoint(stage)) as beside:
        beside.write_text(json.dumps({"step": step, "weights": weights}), "utf-8")
