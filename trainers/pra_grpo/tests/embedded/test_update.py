"""An update makes better rollouts likelier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from p2r_bench_pra_grpo.backends.embedded.frozen import open_model
from p2r_bench_pra_grpo.backends.embedded.inputs import Prompt, PromptBuilder
from p2r_bench_pra_grpo.backends.embedded.policy import Policy
from p2r_bench_pra_grpo.backends.embedded.rollouts import sample_groups
from p2r_bench_pra_grpo.backends.embedded.settings import Settings
from p2r_bench_pra_grpo.backends.embedded.update import Group, Learner
from p2r_bench_pra_grpo.config import GRPO

from p2r_bench.bundled import resolve_model
from p2r_bench.errors import UserError
from p2r_bench.types import Sampling

MODEL = Path(resolve_model("p2r-tiny-base"))
SAMPLING = Sampling(temperature=1.0, max_tokens=16)
PLAIN = GRPO(batch_size=3, learning_rate=1e-4, beta=0.0)
ADVANTAGES = (1.2, 0.3, -1.5)


def groups_of(policy: Policy, prompts: Sequence[Prompt], seed: int = 0) -> list[Group]:
    with torch.no_grad():
        seen = policy.see(prompts)
    seeds = [[seed + 10 * n + k for k in range(3)] for n in range(len(prompts))]
    drawn = sample_groups(policy, prompts, seen, SAMPLING, seeds)
    return [
        Group(prompt, features, group, ADVANTAGES)
        for prompt, features, group in zip(prompts, seen, drawn, strict=True)
    ]


def likelihoods(policy: Policy, groups: Sequence[Group]) -> torch.Tensor:
    """(groups, 3) log-probabilities of the rollouts."""
    with torch.no_grad():
        scored = policy.score(
            [g.prompt for g in groups],
            [g.seen for g in groups if g.seen is not None],
            [[r.tokens for r in g.rollouts] for g in groups],
        )
    return scored.log_probs.sum(-1).view(len(groups), 3)


def test_a_positive_advantage_makes_its_rollout_likelier(
    policy: Policy, opened: tuple[Policy, PromptBuilder], prompts: Sequence[Prompt]
) -> None:
    groups = groups_of(policy, prompts)
    before = likelihoods(policy, groups)
    told = Learner(policy, opened[0], PLAIN, Settings()).update(groups, 1)
    moved = likelihoods(policy, groups) - before
    assert bool((moved[:, 0] > moved[:, 2]).all())
    assert float(moved[:, 0].mean()) > 0 > float(moved[:, 2].mean())
    assert told["clip_share"] == 0.0 and told["grad_norm"] > 0


@pytest.mark.parametrize("loss", ["token-mean", "seq-mean-token-mean"])
def test_micro_batches_change_nothing(
    opened: tuple[Policy, PromptBuilder], prompts: Sequence[Prompt], policy: Policy, loss: str
) -> None:
    grpo = replace(PLAIN, beta=0.05, entropy_coef=0.01, loss_aggregation=loss)  # type: ignore[arg-type]
    groups = groups_of(opened[0], prompts)
    gradients = []
    for size in (1, 3):
        learner = Learner(policy, opened[0], grpo, Settings(micro_batch=size, max_grad_norm=1e9))
        start, _ = learner.state()
        start = {name: p.clone() for name, p in start.items()}
        learner.update(groups, 1)
        gradients.append(
            {n: p.grad.clone() for n, p in policy.trained().items() if p.grad is not None}
        )
        with torch.no_grad():
            for name, parameter in policy.trained().items():
                parameter.copy_(start[name])
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-5), name


def test_the_reference_holds_the_policy_back(
    fresh: Callable[[], Policy],
    opened: tuple[Policy, PromptBuilder],
    prompts: Sequence[Prompt],
) -> None:
    def divergence(beta: float) -> float:
        policy = fresh()
        learner = Learner(
            policy, opened[0], replace(PLAIN, beta=beta, learning_rate=1e-3), Settings()
        )
        told = {}
        for step in range(1, 5):
            told = learner.update(groups_of(policy, prompts, seed=100 * step), step)
        return told["kl"]

    assert divergence(5.0) < divergence(1e-9)


def test_the_vision_tower_stays_as_it_is_unless_it_is_to_be_trained(
    policy: Policy, opened: tuple[Policy, PromptBuilder], prompts: Sequence[Prompt]
) -> None:
    assert not [name for name in policy.trained() if "visual" in name]
    whole = Policy(policy.loaded, train_vision=True)
    groups = [replace(g, seen=None) for g in groups_of(whole, prompts)]
    before = {n: p.clone() for n, p in whole.trained().items() if "visual" in n}
    Learner(whole, opened[0], PLAIN, Settings()).update(groups, 1)
    assert before
    assert any(not torch.equal(p, before[n]) for n, p in whole.trained().items() if n in before)


def test_in_bfloat16_steps_that_are_too_small_for_a_weight_add_up(
    prompts: Sequence[Prompt],
) -> None:
    policy = Policy(open_model(MODEL, device="cpu", dtype="bfloat16")[0])
    grpo = replace(PLAIN, learning_rate=1e-6)
    learner = Learner(policy, policy, grpo, Settings(weight_decay=0.0))
    groups = groups_of(policy, prompts)
    before = {name: values.clone() for name, values in learner.state()[0].items()}
    for step in range(1, 4):
        learner.update(groups, step)
    after, _ = learner.state()
    moved = max(float((after[name] - values).abs().max()) for name, values in before.items())
    assert moved == pytest.approx(3e-6, rel=0.1), "three of AdamW's first steps"
    for name, parameter in policy.trained().items():
        assert parameter.dtype == torch.bfloat16 and after[name].dtype == torch.float32
        assert torch.equal(parameter, after[name].bfloat16()), name


def test_a_policy_in_bfloat16_goes_on_as_it_would_have(prompts: Sequence[Prompt]) -> None:
    def learner() -> Learner:
        policy = Policy(open_model(MODEL, device="cpu", dtype="bfloat16")[0])
        return Learner(policy, policy, PLAIN, Settings(micro_batch=1))

    straight, resumed = learner(), learner()
    groups = groups_of(straight.policy, prompts)
    straight.update(groups, 1)
    parameters, optimizer = straight.state()
    resumed.restore(parameters, deepcopy(optimizer))
    for one in (straight, resumed):
        one.update(groups, 2)
    ends = [one.state()[0] for one in (straight, resumed)]
    assert all(torch.equal(values, ends[1][name]) for name, values in ends[0].items())


def test_a_policy_in_float32_is_changed_itself(policy: Policy) -> None:
    weights, _ = Learner(policy, policy, PLAIN, Settings()).state()
    for name, parameter in policy.trained().items():
        assert weights[name].data_ptr() == parameter.data_ptr(), name


def test_the_learning_rate_rises_and_stays(policy: Policy) -> None:
    learner = Learner(policy, policy, PLAIN, Settings(warmup_steps=4))
    assert [learner.learning_rate(n) / 1e-4 for n in (1, 2, 4, 9)] == pytest.approx(
        [0.25, 0.5, 1, 1]
    )


def test_a_training_that_diverges_ends_before_it_spoils_the_weights(
    policy: Policy, prompts: Sequence[Prompt]
) -> None:
    groups = groups_of(policy, prompts)
    spoilt = [replace(g, advantages=(float("inf"), 0.0, 0.0)) for g in groups]
    learner = Learner(policy, policy, PLAIN, Settings())
    before = {name: p.clone() for name, p in learner.state()[0].items()}
    with pytest.raises(UserError, match="learning_rate"):
        learner.update(spoilt, 1)
    assert all(torch.equal(p, before[name]) for name, p in learner.state()[0].items())
