"""Rewards of a step's rollouts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from p2r_bench.errors import EngineError, ImageError, P2RError
from p2r_bench.types import Ask, Completion
from p2r_bench_pra_grpo.backends.embedded.frozen import Gathered, LocalModel
from p2r_bench_pra_grpo.backends.embedded.prompts import Asked
from p2r_bench_pra_grpo.backends.embedded.rollouts import Rollout
from p2r_bench_pra_grpo.reward import Rewarder
from p2r_bench_pra_grpo.stage import Frozen, NoReward, Reward, StageRole

FAILURES = (EngineError, ImageError, NoReward)
"""Errors that cost one rollout its reward; any other ends the stage."""


class Rewards:
    """Rewards of rollouts by the rewarder and the model that plays the other role.

    Args:
        frozen: A model in this process, which answers all rollouts of a step at once, or a service.
    """

    def __init__(
        self, role: StageRole, rewarder: Rewarder, frozen: LocalModel | Frozen | None
    ) -> None:
        self._role = role
        self._rewarder = rewarder
        self._frozen = frozen

    async def of(
        self,
        groups: Sequence[tuple[Asked, Completion | None, Sequence[Rollout]]],
        seeds: Sequence[Sequence[int]],
    ) -> list[list[Reward | P2RError]]:
        """Return a reward or an error for each rollout.

        Args:
            groups: Prompts, the frozen perceiver's text where the reasoner is trained, and the rollouts.
        """
        calls = [
            (asked, boxes, rollout, seed)
            for (asked, boxes, rollouts), group in zip(groups, seeds, strict=True)
            for rollout, seed in zip(rollouts, group, strict=True)
        ]
        local = self._frozen if isinstance(self._frozen, LocalModel) else None
        gathered = Gathered(len(calls), local.answer) if local is not None else None

        async def one(
            asked: Asked, boxes: Completion | None, rollout: Rollout, seed: int
        ) -> Reward | P2RError:
            try:
                return await self._one(asked, boxes, rollout, seed, gathered)
            except FAILURES as error:
                return error
            finally:
                if gathered is not None:
                    gathered.leave()

        flat = iter(await asyncio.gather(*(one(*call) for call in calls)))
        return [[next(flat) for _ in group] for group in seeds]

    async def _one(
        self,
        asked: Asked,
        boxes: Completion | None,
        rollout: Rollout,
        seed: int,
        gathered: Gathered | None,
    ) -> Reward:
        if rollout.finish == "nan":
            raise NoReward("the policy's outputs are not numbers", kind="nan")
        completion = completion_of(asked, rollout, seed)
        if self._role == "baseline":
            return await self._rewarder.baseline(asked.sample, completion)
        if self._role == "reasoner":
            assert boxes is not None
            return await self._rewarder.reasoner(asked.sample, boxes, completion)
        return await self._rewarder.perceiver(asked.sample, completion, self._ask(gathered))

    def _ask(self, gathered: Gathered | None) -> Ask:
        if gathered is not None:
            return gathered.ask
        assert self._frozen is not None and not isinstance(self._frozen, LocalModel)
        return self._frozen.ask


def completion_of(asked: Asked, rollout: Rollout, seed: int) -> Completion:
    """Return a rollout as an engine's completion."""
    return Completion(
        text=rollout.text,
        finish_reason=rollout.finish,
        prompt_tokens=len(asked.prompt.ids),
        cached_tokens=0,
        output_tokens=len(rollout.tokens),
        visual_tokens=asked.prompt.visual_tokens,
        engine={"engine": "embedded"},
        request=asked.request.with_seed(seed),
    )
