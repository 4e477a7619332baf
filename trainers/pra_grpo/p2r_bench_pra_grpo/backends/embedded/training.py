"""A stage, step by step."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from p2r_bench.adapter import TwoStage
from p2r_bench.errors import EngineError, P2RError, UserError
from p2r_bench.types import Completion, Sample
from p2r_bench_pra_grpo.backends.embedded.grpo import complete_groups, group_advantages
from p2r_bench_pra_grpo.backends.embedded.prompts import Asked, Prompts
from p2r_bench_pra_grpo.backends.embedded.rewards import Rewards
from p2r_bench_pra_grpo.backends.embedded.rollouts import Rollout, sample_groups
from p2r_bench_pra_grpo.backends.embedded.settings import Settings
from p2r_bench_pra_grpo.backends.embedded.update import Group, Learner
from p2r_bench_pra_grpo.config import GRPO
from p2r_bench_pra_grpo.data.mixing import epoch_order
from p2r_bench_pra_grpo.metrics import step_facts
from p2r_bench_pra_grpo.stage import Frozen, Reward, Stage


@dataclass(frozen=True)
class StepOutcome:
    """Outcome of a step.

    Attributes:
        row: The step's row of the metrics.
        groups: The step's samples, each with its rewards in the order of the rollouts; None for a rollout without a
            reward.
    """

    row: dict[str, Any]
    groups: list[tuple[Sample, list[Reward | None]]]


class Training:
    """Steps of a stage. A step depends on the seed, its number and the weights alone.

    Args:
        stored: Frozen perceiver, whose texts are replayed (`Frozen.ask`); None unless the reasoner is trained.
    """

    def __init__(
        self,
        stage: Stage,
        grpo: GRPO,
        settings: Settings,
        samples: Sequence[Sample],
        two: TwoStage,
        learner: Learner,
        prompts: Prompts,
        rewards: Rewards,
        stored: Frozen | None,
    ) -> None:
        self.stage = stage
        self.grpo = grpo
        self.settings = settings
        self.samples = samples
        self.two = two
        self.learner = learner
        self.prompts = prompts
        self.rewards = rewards
        self.stored = stored
        self.steps = grpo.steps(len(samples))

    def batch(self, step: int) -> list[Sample]:
        """Return the samples of a step, counted from 1."""
        per_epoch = len(self.samples) // self.grpo.batch_size
        epoch, place = divmod(step - 1, per_epoch)
        order = epoch_order(len(self.samples), self.stage.seed, epoch)
        chosen = order[place * self.grpo.batch_size : (place + 1) * self.grpo.batch_size]
        return [self.samples[number] for number in chosen]

    async def step(self, step: int) -> StepOutcome:
        """Sample rollouts, reward them, and update the policy.

        Raises:
            UserError: Not one rollout of the step has a reward, or the training has diverged.
        """
        began = time.perf_counter()
        samples = self.batch(step)
        boxes = [await self._boxes(sample) for sample in samples]
        asked = self.prompts.of(samples, boxes)
        answered = [place for place, one in enumerate(asked) if isinstance(one, Asked)]
        ready = [one for one in asked if isinstance(one, Asked)]
        seeds = [
            [self._seed(step, place, n) for n in range(self.grpo.num_generations)]
            for place in answered
        ]
        drawn = self._rollouts(ready, seeds)
        texts = [b if isinstance(b, Completion) else None for b in (boxes[n] for n in answered)]
        outcomes = await self.rewards.of(list(zip(ready, texts, drawn, strict=True)), seeds)
        self._check_any(asked, outcomes)
        rewards = [[r if isinstance(r, Reward) else None for r in group] for group in outcomes]
        sampled = time.perf_counter()
        groups = self._groups(step, ready, drawn, rewards)
        row = self.learner.update(groups, step) if groups else {}
        none: list[Reward | None] = [None] * self.grpo.num_generations
        by_place = dict(zip(answered, rewards, strict=True))
        result = [(sample, by_place.get(n, none)) for n, sample in enumerate(samples)]
        ended = time.perf_counter()
        tokens = [len(rollout.tokens) for group in drawn for rollout in group]
        prompt_tokens = sum(len(one.prompt.ids) * self.grpo.num_generations for one in ready)
        return StepOutcome(
            {
                "step": step,
                "round": self.stage.round,
                "role": self.stage.role,
                **step_facts(self.stage.role, result),
                **row,
                "response_tokens_mean": sum(tokens) / len(tokens),
                "tokens": sum(tokens) + prompt_tokens,
                "seconds": ended - began,
                "rollout_seconds": sampled - began,
                "update_seconds": ended - sampled,
            },
            result,
        )

    async def _boxes(self, sample: Sample) -> Completion | P2RError | None:
        if self.stage.role != "reasoner":
            return None
        assert self.stored is not None
        try:
            return await self.stored.ask(self.two.perceive_request(sample))
        except EngineError as error:
            return error

    @torch.no_grad()
    def _rollouts(
        self, asked: Sequence[Asked], seeds: Sequence[Sequence[int]]
    ) -> list[list[Rollout]]:
        if not asked:
            return []
        policy, prompts = self.learner.policy, [one.prompt for one in asked]
        known = [one.seen for one in asked if one.seen is not None]
        seen = known if len(known) == len(asked) else policy.see(prompts)
        return sample_groups(policy, prompts, seen, asked[0].request.sampling, seeds)

    def _groups(
        self,
        step: int,
        asked: Sequence[Asked],
        drawn: Sequence[Sequence[Rollout]],
        rewards: Sequence[Sequence[Reward | None]],
    ) -> list[Group]:
        """Return the groups of at least two rollouts with a reward, with their advantages."""
        kept = [
            (place, rollout, reward.value)
            for place, (group, earned) in enumerate(zip(drawn, rewards, strict=True))
            for rollout, reward in zip(group, earned, strict=True)
            if reward is not None
        ]
        values = [value for _, _, value in kept]
        if self.settings.shuffle_rewards:
            random.Random(self._seed(step, -1, 0)).shuffle(values)
        places = torch.tensor([place for place, _, _ in kept])
        whole = complete_groups(places)
        advantages = torch.zeros(len(kept))
        advantages[whole] = group_advantages(torch.tensor(values)[whole], places[whole])
        by_place: dict[int, list[tuple[Rollout, float]]] = {}
        for (place, rollout, _), advantage, company in zip(
            kept, advantages.tolist(), whole.tolist(), strict=True
        ):
            if company:
                by_place.setdefault(place, []).append((rollout, advantage))
        return [
            Group(
                asked[place].prompt,
                asked[place].seen,
                [rollout for rollout, _ in members],
                [advantage for _, advantage in members],
            )
            for place, members in by_place.items()
        ]

    def _seed(self, step: int, place: int, rollout: int) -> int:
        text = f"{self.stage.seed}:{self.stage.name}:{step}:{place}:{rollout}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

    @staticmethod
    def _check_any(
        asked: Sequence[Asked | P2RError], outcomes: Sequence[Sequence[Reward | P2RError]]
    ) -> None:
        """Raise UserError if no rollout of the step has a reward."""
        flat = [outcome for group in outcomes for outcome in group]
        if any(isinstance(outcome, Reward) for outcome in flat):
            return
        causes = [one for one in (*asked, *flat) if isinstance(one, P2RError)]
        raise UserError(f"no rollout of a whole step has a reward; the first cause: {causes[0]}")
