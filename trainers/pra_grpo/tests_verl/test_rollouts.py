"""verl's own agent loop and reward loop on a stage's rows: the bundled model generates, another one reasons over HTTP."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from making import TINY, config_of, prepared, read_journals, samples_of
from p2r_bench_pra_grpo.backends.embedded.grpo import group_advantages
from p2r_bench_pra_grpo.backends.embedded.inputs import PromptBuilder
from p2r_bench_pra_grpo.backends.embedded.loading import load
from p2r_bench_pra_grpo.backends.verl.agent_loop import NEVER, rollout_seed
from p2r_bench_pra_grpo.backends.verl.dataset import StageDataset
from p2r_bench_pra_grpo.config import profile_of
from p2r_bench_pra_grpo.reward import TERMS
from reasoners import served_reasoner
from standins import Generator
from verl import DataProto
from verl.experimental.agent_loop import AgentLoopWorker
from verl.experimental.reward_loop import RewardLoopManager
from verl.trainer.ppo.ray_trainer import compute_advantage, compute_response_mask
from verl.trainer.ppo.reward import extract_reward
from verl.utils.dataset.rl_dataset import collate_fn

from p2r_bench.adapter import TwoStage, decode, render
from p2r_bench.engines.chat_template import chat_template
from p2r_bench.tasks.reading import read_image

GROUP = 4


@pytest.fixture(scope="module")
def reasoner() -> Iterator[dict[str, Any]]:
    with served_reasoner() as at:
        yield at


def rolled_out(tmp_path: Path, reasoner: dict[str, Any]) -> tuple[Any, Generator, Any, Any]:
    """Two prompts, four rollouts each, through dataset, agent loop, generation and reward."""
    config = config_of(tmp_path, rows=2)
    _, _, paths, told = prepared(config, "perceiver", at=reasoner)
    manager = RewardLoopManager(told)
    generator = Generator(TINY, max_tokens=int(told.data.max_response_length))
    worker = AgentLoopWorker(
        told, generator, reward_loop_worker_handles=manager.reward_loop_worker_handles
    )
    data = StageDataset(told.data.train_files, worker.tokenizer, told.data, worker.processor)
    batch = DataProto.from_single_dict(collate_fn([data[0], data[1]]))
    batch.non_tensor_batch["uid"] = np.array(["a", "b"], dtype=object)
    batch = batch.repeat(GROUP, interleave=True)
    batch.non_tensor_batch["session_id"] = np.array([*range(GROUP)] * 2)
    found = asyncio.run(worker.generate_sequences(batch))
    return found, generator, paths, config


@pytest.mark.usefixtures("cluster")
def test_rollouts_become_advantages(tmp_path: Path, reasoner: dict[str, Any]) -> None:
    found, generator, paths, config = rolled_out(tmp_path, reasoner)
    rewards, extra = extract_reward(found)
    values = rewards.sum(dim=-1)
    assert set(extra) == {*TERMS["perceiver"], "correct"}
    lines = list(read_journals(paths.journals))
    assert len(lines) == 2 * GROUP and not any("failed" in line for line in lines)
    written = {(line["group"], line["rollout"]): line["value"] for line in lines}
    assert [written["ab"[n // GROUP], n % GROUP] for n in range(2 * GROUP)] == values.tolist()
    last = found.batch["response_mask"].sum(dim=-1) - 1
    assert torch.equal(rewards.argmax(dim=-1)[values > 0], last[values > 0])

    found.batch["token_level_rewards"] = rewards
    found.batch["response_mask"] = compute_response_mask(found)
    found.non_tensor_batch["uid"] = np.repeat(np.array(["a", "b"], dtype=object), GROUP)
    advantages = compute_advantage(found, "grpo", config=None).batch["advantages"]
    groups = torch.arange(2).repeat_interleave(GROUP)
    expected = group_advantages(values, groups).unsqueeze(-1) * found.batch["response_mask"]
    assert torch.allclose(advantages, expected, atol=1e-5)
    assert_rollouts_are_evaluations(found, generator, config)


def assert_rollouts_are_evaluations(found: Any, generator: Generator, config: Any) -> None:
    """Token ids, pixels, seeds and forbidden tokens are those of the core's own engine."""
    loaded = load(TINY, device="cpu", dtype="float32")
    builder = PromptBuilder(
        loaded.tokenizer,
        chat_template(TINY, loaded.tokenizer),
        loaded.model.base_model,
        loaded.patches,
        loaded.context,
    )
    two = TwoStage(profile_of(config))
    prompts = []
    for sample in samples_of(config):
        request = two.perceive_request(sample)
        source = decode(read_image(sample.image))
        images = [render(recipe, source) for recipe in request.recipes]
        prompts.append((builder.build(request, images), images))
    seeds = [asked["sampling_params"]["seed"] for asked in generator.asked]
    assert sorted(seeds) == sorted(
        rollout_seed(7, -1, row, rollout) for row in range(2) for rollout in range(GROUP)
    )
    assert len(set(seeds)) == len(seeds)
    for asked in generator.asked:
        (row,) = {n // GROUP for n in range(2 * GROUP) if rollout_seed(7, -1, n // GROUP, n % GROUP) == asked["sampling_params"]["seed"]}  # fmt: skip
        prompt, images = prompts[row]
        assert asked["prompt_ids"] == list(prompt.ids)
        assert [i.tobytes() for i in asked["image_data"]] == [i.tobytes() for i in images]
        assert set(asked["sampling_params"]["logit_bias"]) == set(loaded.suppressed_ids)
        assert set(asked["sampling_params"]["logit_bias"].values()) == {NEVER}
        assert asked["sampling_params"]["temperature"] == 1.0
    for row, inputs in enumerate(found.non_tensor_batch["multi_modal_inputs"]):
        prompt, _ = prompts[row // GROUP]
        seen = torch.cat([loaded.patches(image) for image in prompt.images])
        assert torch.allclose(inputs["pixel_values"], seen, atol=1e-4)
        ids = found.batch["prompts"][row]
        assert ids[-len(prompt.ids) :].tolist() == list(prompt.ids)
        width = len(prompt.ids)
        positions = found.batch["position_ids"][row, 1:, len(ids) - width : len(ids)]
        assert torch.equal(positions, prompt.positions)
    assert not math.isnan(float(found.batch["rm_scores"].sum()))
