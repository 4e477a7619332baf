"""verl's reward: `Rewarder`, with the frozen model over HTTP. `reward.reward_manager` names it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from p2r_bench.errors import EngineError, ImageError, UserError
from p2r_bench.types import Completion, Sample
from p2r_bench_pra_grpo.backends.verl.journal import KEPT_PROMPTS, Journal, Place
from p2r_bench_pra_grpo.backends.verl.rows import read_rows, sample_from_json
from p2r_bench_pra_grpo.backends.verl.stage_file import StageFile, stage_file_of
from p2r_bench_pra_grpo.reward import TERMS
from p2r_bench_pra_grpo.rewarding import make_rewarder
from p2r_bench_pra_grpo.services.breaker import outlast
from p2r_bench_pra_grpo.services.frozen import connect
from p2r_bench_pra_grpo.stage import Frozen, NoReward, Reward, ServiceDown, Stage


class RolloutFailed(RuntimeError):
    """A rollout has no reward. verl then has no trajectory of it, and its group continues with the others."""


class StageRewardManager(RewardManagerBase):
    """Reward manager in a process of its own; it rewards many rollouts at once.

    Every outcome has the same keys: the reward's terms and `correct`.
    """

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any = None, **_: Any) -> None:
        super().__init__(config, tokenizer, compute_score)
        self.stage = stage_file_of(config.data)
        workers = int(config.reward.num_workers)
        self._share = max(1, self.stage.config.services.concurrency // workers)
        self._longest = int(config.data.max_response_length)
        profile = self.stage.load_profile()
        self._samples = [row.sample for row in read_rows(self.stage.rows)]
        self.rewarder = make_rewarder(self.stage.config, profile, self._samples, workers)
        batch = self.stage.config.grpo_for(self.stage.role).batch_size
        self.journal = Journal(
            self.stage.journals, journalled(self.stage), min(1.0, KEPT_PROMPTS / batch)
        )
        self._frozen: Frozen | None = None
        self._down: str | None = None
        self._opening = asyncio.Lock()
        self._open = AsyncExitStack()

    async def run_single(self, data: Any) -> dict[str, Any]:
        """Return verl's outcome of a rollout: "reward_score" and "reward_extra_info".

        Args:
            data: verl's DataProto; its last row is the rollout.

        Raises:
            RolloutFailed: A call, an image or the judge failed.
        """
        item = data[-1:][0]
        values = item.non_tensor_batch
        sample = sample_from_json(values["extra_info"]["sample"])
        place = Place(
            int(values.get("global_steps", 0)),
            str(values.get("uid", "")),
            int(values.get("session_id", 0)),
            int(values.get("index", 0)),
        )
        rollout = await self.loop.run_in_executor(None, self._completion, item)
        try:
            reward = await self._reward(sample, values["extra_info"]["boxes"], rollout)
        except ServiceDown as error:
            self.journal.failed(place, sample, "service_down", str(error))
            self.journal.service_down(str(error))
            raise RolloutFailed(str(error)) from None
        except (EngineError, NoReward) as error:
            self.journal.failed(place, sample, error.kind, str(error))
            raise RolloutFailed(f"sample {sample.id}: {error.kind}: {error}") from None
        except ImageError as error:
            self.journal.failed(place, sample, "image", str(error))
            raise RolloutFailed(f"sample {sample.id}: {error}") from None
        self.journal.rewarded(place, sample, reward)
        terms = {name: reward.terms[name] for name in TERMS[self.stage.role]}
        return {
            "reward_score": reward.value,
            "reward_extra_info": {**terms, "correct": float(bool(reward.verdict.correct))},
        }

    async def _reward(self, sample: Sample, boxes: str | None, rollout: Completion) -> Reward:
        if self.stage.role == "baseline":
            return await self.rewarder.baseline(sample, rollout)
        if self.stage.role == "reasoner":
            assert boxes is not None
            return await self.rewarder.reasoner(sample, Completion(boxes), rollout)
        frozen = await self._connected()
        return await self.rewarder.perceiver(sample, rollout, frozen.ask)

    async def _connected(self) -> Frozen:
        async with self._opening:
            if self._down is not None:
                raise ServiceDown(self._down)
            if self._frozen is None:
                patience = self.stage.config.services.pause_at_most
                try:
                    self._frozen = await outlast(self._connect, patience)
                except (EngineError, UserError) as error:  # so it is for all rollouts
                    self._down = f"the frozen model cannot be used: {error}"
                    raise ServiceDown(self._down) from error
            return self._frozen

    async def _connect(self) -> Frozen:
        assert self.stage.frozen is not None
        frozen = connect(self.stage.frozen, self.stage.config, self._samples, self._share)
        return await self._open.enter_async_context(frozen)

    def _completion(self, item: Any) -> Completion:
        ids = item.batch["responses"]
        count = int(item.batch["attention_mask"][-len(ids) :].sum())
        tokenizer: Any = self.tokenizer
        text = tokenizer.decode(
            ids[:count], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        ended = count > 0 and int(ids[count - 1]) == tokenizer.eos_token_id
        cut = count >= self._longest and not ended
        return Completion(text, "length" if cut else "stop", output_tokens=count)


def journalled(file: StageFile) -> Stage:
    """Return the stage that rows of rollouts name."""
    return Stage(file.round, file.role, Path(), None, Path(), file.seed)
