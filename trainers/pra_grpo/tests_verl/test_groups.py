"""A failed rollout leaves its group, in verl's own trainer and data plane (TransferQueue on Ray)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transfer_queue as tq
from making import TINY, URL, config_of, prepared, read_journals
from p2r_bench_pra_grpo.backends.embedded.grpo import group_advantages
from p2r_bench_pra_grpo.backends.verl.agent_loop import rollout_seed
from p2r_bench_pra_grpo.backends.verl.journal import DOWN
from pra_grpo_testing import FakeServer
from standins import Generator
from verl.experimental.reward_loop import RewardLoopManager
from verl.trainer.ppo.padding_utils import upsample_batch_to_divisible_size
from verl.trainer.ppo.v1 import AgentLoopManagerTQ, get_trainer_cls

GROUP = 4
SMALL = (
    "algorithm.rollout_correction.bypass_mode=true",  # no worker here computes them again
    "data.shuffle=false",
    "trainer.device=cpu",
    "transfer_queue.enable=true",
    "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
)


class Server(FakeServer):
    """Refuses the next calls that are no probes."""

    refusing = 0

    def answer(self, body: dict[str, Any]) -> tuple[int, bytes]:
        if self.refusing and body["max_tokens"] > 24:
            self.refusing -= 1
            return 400, b'{"error": {"message": "as told"}}'
        return super().answer(body)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server("frozen") as running:
        yield running


@pytest.fixture
def queue(cluster: None) -> Iterator[None]:
    yield
    tq.close()


def trainer_of(
    tmp_path: Path, server: Server, failing: Iterable[tuple[int, int]] = ()
) -> tuple[Any, Any]:
    """verl's trainer up to its first sample: rollouts have been begun for the first batch."""
    limits = {"retries": 0, "pause_after": 3, "pause_at_most": 0.0}
    config = config_of(
        tmp_path,
        rows=6,
        grpo={"num_generations": GROUP, "batch_size": 2},
        services={"reasoner": URL, "perceiver": URL, **limits},
    )
    at = {"name": "the frozen reasoner", "urls": [server.url], "model": "frozen"}
    _, _, paths, told = prepared(config, "perceiver", extra=SMALL, at=at)
    tq.init(told.transfer_queue)
    trainer = get_trainer_cls(told.trainer.v1.trainer_mode)(config=told)
    trainer._init_tokenizer()
    trainer._init_dataloader()
    seeds = {rollout_seed(7, 1, row, rollout) for row, rollout in failing}
    trainer.agent_loop_manager = AgentLoopManagerTQ.create(
        config=told,
        llm_client=Generator(TINY, int(told.data.max_response_length), seeds),
        teacher_client=None,
        reward_loop_worker_handles=RewardLoopManager(told).reward_loop_worker_handles,
    )
    trainer.global_steps = 1
    trainer._add_batch_to_generate()
    return trainer, paths


def rows_of(batch: Any) -> list[int]:
    data = tq.kv_batch_get(keys=batch.keys, partition_id="train", select_fields=["index"])
    return [int(index) for index in data["index"]]


@pytest.mark.usefixtures("queue")
def test_failed_rollouts_leave_their_group_and_lone_ones_are_replaced(
    tmp_path: Path, server: Server
) -> None:
    failing = {(0, 1), (1, 0), (1, 1), (1, 3)}
    trainer, _ = trainer_of(tmp_path, server, failing)
    batch, metrics = trainer.replay_buffer.sample(1, "train", 2)
    assert sorted(rows_of(batch)) == [0] * 3 + [2] * 4
    assert metrics["training/failed_rollouts"] == 4
    assert metrics["training/failed_share"] == 4 / 12
    assert metrics["training/groups_skipped"] == 1

    rewards = tq.kv_batch_get(keys=batch.keys, partition_id="train", select_fields=["rm_scores"])
    values = torch.stack([row.sum() for row in rewards["rm_scores"]])
    expected = group_advantages(values, torch.tensor(rows_of(batch)))
    padded = upsample_batch_to_divisible_size(batch, 8, trainer.tokenizer.eos_token_id)
    assert len(padded.keys) == 8
    trainer._compute_advantage(trainer._compute_old_log_prob(padded, {}), {})
    found = tq.kv_batch_get(
        keys=padded.keys, partition_id="train", select_fields=["advantages", "response_mask"]
    )
    *real, padding = list(found["advantages"])
    for own, mask, advantage in zip(real, found["response_mask"], expected, strict=False):
        assert torch.allclose(own, advantage * mask, atol=1e-5)
    assert not padding.any(), "a row that fills up the batch moves nothing"


@pytest.mark.usefixtures("queue")
def test_a_refused_call_of_the_reasoner_is_no_reward(tmp_path: Path, server: Server) -> None:
    server.refusing = 3
    trainer, paths = trainer_of(tmp_path, server)
    batch, metrics = trainer.replay_buffer.sample(1, "train", 2)
    lines = list(read_journals(paths.journals))
    failed = [line for line in lines if "failed" in line]
    assert len(failed) == 3 and {line["failed"] for line in failed} == {"http_400"}
    assert metrics["training/failed_rollouts"] == 3
    trained = Counter(rows_of(batch))
    for row, members in trained.items():
        assert members == GROUP - sum(line["index"] == row for line in failed) >= 2


@pytest.mark.usefixtures("queue")
def test_a_dead_reasoner_ends_the_run_instead_of_teaching_zeros(
    tmp_path: Path, server: Server
) -> None:
    server.behaviour = "500"
    trainer, paths = trainer_of(tmp_path, server)
    with pytest.raises(RuntimeError, match="groups of this step"):
        trainer.replay_buffer.sample(1, "train", 2)
    assert all("failed" in line for line in read_journals(paths.journals))
    assert "fails every call" in (paths.journals / DOWN).read_text()
