"""Rollouts are drawn from the policy that is trained."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from p2r_bench_pra_grpo.backends.embedded.decoding import Batch, Row
from p2r_bench_pra_grpo.backends.embedded.inputs import Prompt, PromptBuilder
from p2r_bench_pra_grpo.backends.embedded.policy import Policy
from p2r_bench_pra_grpo.backends.embedded.rollouts import Rollout, check_sampling, sample_groups

from p2r_bench.types import Sampling

SAMPLING = Sampling(temperature=1.0, max_tokens=24)
SEEDS = [[10 * n + k for k in range(4)] for n in range(3)]


@pytest.fixture(scope="module")
def drawn(opened: tuple[Policy, PromptBuilder], prompts: Sequence[Prompt]) -> list[list[Rollout]]:
    policy = opened[0]
    return sample_groups(policy, prompts, policy.see(prompts), SAMPLING, SEEDS)


def test_log_probabilities_of_what_was_drawn_are_those_that_training_computes(
    opened: tuple[Policy, PromptBuilder], prompts: Sequence[Prompt], drawn: list[list[Rollout]]
) -> None:
    policy = opened[0]
    tokens = [[rollout.tokens for rollout in group] for group in drawn]
    with torch.no_grad():
        scored = policy.score(prompts, policy.see(prompts), tokens)
    for row, rollout in enumerate(r for group in drawn for r in group):
        length = len(rollout.tokens)
        assert scored.mask[row].sum() == length
        expected = torch.tensor(rollout.log_probs)
        assert torch.allclose(scored.log_probs[row, :length], expected, atol=1e-4)


def test_rollouts_are_what_the_cores_engine_draws_with_the_same_seeds(
    opened: tuple[Policy, PromptBuilder], prompts: Sequence[Prompt], drawn: list[list[Rollout]]
) -> None:
    loaded = opened[0].loaded
    batch = Batch(
        loaded.model,
        loaded.tokenizer,
        loaded.patches,
        end_ids=loaded.end_ids,
        suppressed_ids=loaded.suppressed_ids,
    )
    rows = [
        Row(prompt, Sampling(temperature=1.0, max_tokens=24, seed=seed))
        for prompt, seeds in zip(prompts, SEEDS, strict=True)
        for seed in seeds
    ]
    batch.add(rows)
    while batch.rows:
        batch.step()
    ours = [(r.text, r.finish, r.tokens) for group in drawn for r in group]
    assert ours == [(row.text, row.finish, tuple(row.output)) for row in rows]


def test_a_groups_rollouts_differ_and_do_not_depend_on_the_other_groups(
    opened: tuple[Policy, PromptBuilder], prompts: Sequence[Prompt], drawn: list[list[Rollout]]
) -> None:
    policy = opened[0]
    alone = sample_groups(policy, prompts[1:2], policy.see(prompts[1:2]), SAMPLING, SEEDS[1:2])
    assert [r.tokens for r in alone[0]] == [r.tokens for r in drawn[1]]
    assert len({r.tokens for r in drawn[0]}) > 1


def test_a_placeholder_of_an_image_is_never_drawn(
    policy: Policy, prompts: Sequence[Prompt]
) -> None:
    pad = policy.image_id
    with torch.no_grad():  # a policy that wants nothing else
        head = policy.model.get_output_embeddings().weight  # type: ignore[operator]
        head[policy.forbidden] = head.abs().sum(0).sign() * 50
    seen = policy.see(prompts)
    drawn = sample_groups(policy, prompts, seen, SAMPLING, SEEDS)
    tokens = {token for group in drawn for rollout in group for token in rollout.tokens}
    assert tokens.isdisjoint(policy.forbidden.tolist())
    assert pad in policy.forbidden.tolist()


def test_what_is_cut_off_is_said_to_be(
    opened: tuple[Policy, PromptBuilder], prompts: Sequence[Prompt]
) -> None:
    policy = opened[0]
    sampling = Sampling(temperature=1.0, max_tokens=2)
    drawn = sample_groups(policy, prompts, policy.see(prompts), sampling, SEEDS)
    assert {(len(r.tokens), r.finish) for group in drawn for r in group} == {(2, "length")}


def test_an_overflow_is_no_answer(policy: Policy, prompts: Sequence[Prompt]) -> None:
    with torch.no_grad():
        policy.model.get_output_embeddings().weight.fill_(torch.nan)  # type: ignore[operator]
    drawn = sample_groups(policy, prompts, policy.see(prompts), SAMPLING, SEEDS)
    assert {(r.finish, r.tokens) for group in drawn for r in group} == {("nan", ())}


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.0),
        Sampling(temperature=1.0, top_p=0.9),
        Sampling(temperature=1.0, repetition_penalty=1.05),
        Sampling(temperature=1.0, top_k=20),
        Sampling(temperature=1.0, min_p=0.1),
        Sampling(temperature=1.0, presence_penalty=1.5),
        Sampling(temperature=1.0, frequency_penalty=0.5),
        Sampling(temperature=1.0, stop=("</answer>",)),
    ],
)
def test_no_rollout_is_drawn_from_another_distribution(sampling: Sampling) -> None:
    with pytest.raises(ValueError, match="rollouts"):
        check_sampling(sampling)
