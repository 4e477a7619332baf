"""Sampler of the groups that a step trains on. `trainer.v1.sampler.custom_sampler` names it.

A rollout whose call, judge or images failed has raised, so verl has no trajectory of it: its group continues
with the others. verl would give a single remaining rollout its raw reward as its advantage. This sampler leaves out
groups of one rollout or none.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

log = logging.getLogger(__name__)

LEAST = 2
"""Fewest rollouts of a group."""


class GroupSampler(ReplayBuffer):
    """verl's sampler without groups of fewer than two rollouts; the next prompts take their place.

    `trainer.v1.sampler.sampler_kwargs` holds `group`, the rollouts per prompt, and `give_up_after`, the number of
    groups left out of one step that ends the run, because a service is down.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            **kwargs, gen_batch_size=1, train_batch_size=None, sync_refill_failed_groups=True
        )
        self._group = int(self.sampler_kwargs["group"])
        self._give_up_after = int(self.sampler_kwargs["give_up_after"])
        self._skipped = 0
        self._lost_with_them = 0

    def _terminal_eviction_reasons(
        self, global_steps: int, partition_id: str
    ) -> tuple[set[str], set[str], set[str], Counter[Any]]:
        stale, filtered, _, counts = super()._terminal_eviction_reasons(global_steps, partition_id)
        if partition_id == "val":
            return stale, filtered, set(), counts
        left = self._members(partition_id)
        failed = {uid for uid in self.failure_keys[partition_id] if left[uid] < LEAST}
        self._skipped += len(failed)
        self._lost_with_them += sum(self._group - left[uid] for uid in failed)
        if self._skipped >= self._give_up_after:
            raise RuntimeError(
                f"{self._skipped} groups of this step had fewer than {LEAST} rollouts with a reward: a frozen "
                "model or the verifier is down. Nothing was learned from them; the stage goes on from its "
                "last checkpoint."
            )
        return stale, filtered, failed, counts

    def sample(
        self, global_steps: int, partition_id: str, batch_size: int
    ) -> tuple[Any, dict[str, Any]]:
        """Return a batch of groups of at least two, and the counts of those left out, as metrics.

        `training/failed_rollouts` counts rollouts without a reward, those of groups that were left out
        included; `training/failed_share` is their share of all rollouts begun;
        `training/groups_skipped` counts the groups left out.

        Raises:
            RuntimeError: `give_up_after` groups were left out.
        """
        self._skipped = self._lost_with_them = 0
        batch, metrics = super().sample(global_steps, partition_id, batch_size)
        if partition_id != "val":
            groups = len({key.split("_")[0] for key in batch.keys})
            failed = groups * self._group - len(batch.keys) + self._lost_with_them
            begun = (groups + self._skipped) * self._group
            metrics = {
                **metrics,
                "training/failed_rollouts": failed,
                "training/failed_share": failed / begun,
                "training/groups_skipped": self._skipped,
            }
        return batch, metrics

    def _members(self, partition_id: str) -> Counter[str]:
        return Counter(key.split("_")[0] for key in self.partitions[partition_id])
