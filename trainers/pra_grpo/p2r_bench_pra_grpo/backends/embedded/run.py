"""A stage from its checkpoint to its end, and its result as a model folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers

from p2r_bench.adapter import TwoStage
from p2r_bench.errors import UserError
from p2r_bench.models import model_digest
from p2r_bench.types import Sample, digest_of
from p2r_bench_pra_grpo.backends.embedded.checkpoints import (
    Checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from p2r_bench_pra_grpo.backends.embedded.export import write_model
from p2r_bench_pra_grpo.backends.embedded.frozen import LocalModel, open_model
from p2r_bench_pra_grpo.backends.embedded.pictures import Pictures
from p2r_bench_pra_grpo.backends.embedded.policy import Policy
from p2r_bench_pra_grpo.backends.embedded.prompts import Prompts
from p2r_bench_pra_grpo.backends.embedded.rewards import Rewards
from p2r_bench_pra_grpo.backends.embedded.settings import Settings
from p2r_bench_pra_grpo.backends.embedded.training import StepOutcome, Training
from p2r_bench_pra_grpo.backends.embedded.update import Learner
from p2r_bench_pra_grpo.config import Config, profile_of
from p2r_bench_pra_grpo.data.load import samples_digest
from p2r_bench_pra_grpo.identity import deciding, reward_identity
from p2r_bench_pra_grpo.metrics import METRICS, ROLLOUTS, StepFile, rollout_row
from p2r_bench_pra_grpo.rewarding import make_rewarder
from p2r_bench_pra_grpo.stage import Frozen, Stage, View

SHOWN_GROUPS = 2
"""Groups of a step whose rollouts are stored with each checkpoint."""


class StageRun:
    """Training of one stage in this process."""

    def __init__(self, stage: Stage, config: Config, settings: Settings) -> None:
        self.stage = stage
        self.config = config
        self.settings = settings
        self.grpo = config.grpo_for(stage.role)
        self.profile = profile_of(config)

    async def train(self, samples: Sequence[Sample], frozen: Frozen | None, view: View) -> None:
        """See `Backend.train`."""
        stage, grpo = self.stage, self.grpo
        if self.settings.threads:
            torch.set_num_threads(self.settings.threads)
        identity = self._identity(samples)
        checkpoint = read_checkpoint(stage.folder, identity)
        done, seconds = (checkpoint.step, checkpoint.seconds) if checkpoint else (0, 0.0)
        metrics, kept = StepFile(stage.metrics, METRICS), StepFile(stage.rollouts, ROLLOUTS)
        metrics.keep(done)
        kept.keep(done)
        total = grpo.steps(len(samples))
        if done >= total:
            return
        async with AsyncExitStack() as stack:
            pictures = Pictures(samples, self.settings.image_workers)
            stack.callback(pictures.close)
            stored = None
            if frozen is not None and not self._local():
                stored = await stack.enter_async_context(frozen)
            training = self._training(samples, pictures, stored)
            if checkpoint is not None:
                training.learner.restore(checkpoint.parameters, checkpoint.optimizer)
            for step in range(done + 1, total + 1):
                outcome = await training.step(step)
                seconds += outcome.row["seconds"]
                metrics.append(outcome.row)
                if step % grpo.save_steps == 0 or step == total:
                    kept.append(*self._shown(step, outcome))
                    parameters, optimizer = training.learner.state()
                    write_checkpoint(
                        stage.folder, Checkpoint(step, identity, parameters, optimizer, seconds)
                    )
                view(outcome.row)

    def merge(self) -> Path:
        """See `Backend.merge`."""
        checkpoint = read_checkpoint(self.stage.folder)
        if checkpoint is None:
            raise UserError(f"{self.stage.folder}: no checkpoint to make a model of")
        write_model(self.stage.start, checkpoint.parameters, self.stage.model)
        return self.stage.model

    def facts(self) -> Mapping[str, Any]:
        """Return steps and seconds of the training so far, and the device and versions."""
        checkpoint = read_checkpoint(self.stage.folder)
        return {
            "steps": checkpoint.step if checkpoint else 0,
            "seconds": checkpoint.seconds if checkpoint else 0.0,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "threads": torch.get_num_threads(),
        }

    def _local(self) -> bool:
        """Return True if the frozen model is a `LocalModel` of this process, not a model behind an engine."""
        service = self.config.service_for(self.stage.role)
        here = service.kind == "engine" and service.engine == "transformers"
        return self.stage.role == "perceiver" and here and not service.engine_args

    def _training(
        self, samples: Sequence[Sample], pictures: Pictures, stored: Frozen | None
    ) -> Training:
        stage, grpo, settings = self.stage, self.grpo, self.settings
        open_as = {"device": settings.device, "dtype": settings.dtype}
        loaded, builder = open_model(stage.start, **open_as)
        policy = Policy(loaded, temperature=grpo.temperature, train_vision=settings.train_vision)
        start, prompts = open_model(stage.start, **open_as)
        reference = Policy(start, temperature=grpo.temperature)
        reference.model.requires_grad_(False)
        frozen: LocalModel | Frozen | None = stored
        if self._local():
            assert stage.frozen is not None
            if stage.frozen.resolve() != stage.start.resolve():
                start, prompts = open_model(stage.frozen, **open_as)
            frozen = LocalModel(start, prompts, pictures, settings.frozen_batch)
        two = TwoStage(self.profile)
        return Training(
            stage,
            grpo,
            settings,
            samples,
            two,
            Learner(policy, reference, grpo, settings),
            Prompts(stage.role, two, grpo, policy, builder, pictures),
            Rewards(stage.role, make_rewarder(self.config, self.profile, samples), frozen),
            stored,
        )

    def _identity(self, samples: Sequence[Sample]) -> str:
        stage = self.stage
        grpo = {
            k: v
            for k, v in asdict(self.grpo).items()
            if k not in ("num_epochs", "max_steps", "save_steps")
        }
        return digest_of(
            {
                "role": stage.role,
                "round": stage.round,
                "seed": stage.seed,
                "start": model_digest(stage.start),
                "frozen": model_digest(stage.frozen) if stage.frozen else None,
                "profile": self.profile.hash,
                "samples": samples_digest(samples),
                "grpo": grpo,
                "rewarding": reward_identity(self.config),
                "embedded": deciding("embedded", asdict(self.settings)),
            }
        )

    def _shown(self, step: int, outcome: StepOutcome) -> list[dict[str, Any]]:
        return [
            rollout_row(self.stage, step, place, sample, reward)
            for sample, rewards in outcome.groups[:SHOWN_GROUPS]
            for place, reward in enumerate(rewards)
            if reward is not None
        ]
