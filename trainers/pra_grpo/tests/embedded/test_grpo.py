"""The arithmetic of GRPO."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from p2r_bench_pra_grpo.backends.embedded.grpo import (
    K3_LIMIT,
    aggregate,
    complete_groups,
    group_advantages,
    k3,
    log_probs_of,
    policy_loss,
    weight_of,
)

ROLLOUTS, TOKENS = 6, 5
log_ratios = arrays("float64", (ROLLOUTS, TOKENS), elements=st.floats(-3, 3)).map(torch.tensor)
advantages = arrays("float64", (ROLLOUTS,), elements=st.floats(-3, 3)).map(torch.tensor)
masks = arrays("float64", (ROLLOUTS, TOKENS), elements=st.sampled_from([0.0, 1.0])).map(
    torch.tensor
)
grouped = st.lists(st.tuples(st.integers(0, 3), st.floats(-2, 2)), min_size=1, max_size=24).map(
    lambda pairs: (torch.tensor([g for g, _ in pairs]), torch.tensor([r for _, r in pairs]))
)


def kept(groups: torch.Tensor, rewards: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    whole = complete_groups(groups)
    return groups[whole], rewards[whole]


@given(grouped)
def test_advantages_sum_to_zero_in_every_group(drawn: tuple[torch.Tensor, torch.Tensor]) -> None:
    groups, rewards = kept(*drawn)
    found = group_advantages(rewards, groups)
    for group in groups.unique():
        mine = rewards[groups == group]
        rounding = 1e-6 * len(mine) * float(mine.abs().max() / (mine.std() + 1e-6))  # of float32
        total = float(found[groups == group].sum())
        assert math.isclose(total, 0.0, abs_tol=1e-4 + rounding)


@given(grouped)
def test_a_better_reward_is_a_better_advantage(drawn: tuple[torch.Tensor, torch.Tensor]) -> None:
    groups, rewards = kept(*drawn)
    found = group_advantages(rewards, groups)
    for group in groups.unique():
        mine = groups == group
        order = rewards[mine].argsort(stable=True)
        assert bool((found[mine][order].diff() >= 0).all())


def test_advantages_are_in_units_of_the_groups_standard_deviation() -> None:
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0, 5.0, 5.0])
    groups = torch.tensor([0, 0, 0, 0, 1, 1])
    found = group_advantages(rewards, groups)
    assert torch.allclose(found[:4], torch.tensor([1.5, -0.5, -0.5, -0.5]), atol=1e-5)
    assert found[4:].tolist() == [0.0, 0.0]


def test_a_lone_survivor_has_no_advantage() -> None:
    groups = torch.tensor([0, 1, 0, 2])
    assert complete_groups(groups).tolist() == [True, False, True, False]
    with pytest.raises(ValueError, match="alone"):
        group_advantages(torch.ones(4), groups)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_reward_that_is_no_number_is_refused(poison: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        group_advantages(torch.tensor([0.0, poison]), torch.tensor([0, 0]))


@given(log_ratios, advantages, masks)
def test_masked_tokens_have_no_gradient(
    shift: torch.Tensor, advantage: torch.Tensor, mask: torch.Tensor
) -> None:
    log_probs = shift.clone().requires_grad_()
    old = torch.zeros_like(shift)
    values = policy_loss(log_probs, old, advantage).values + k3(log_probs, old)
    (gradient,) = torch.autograd.grad(aggregate(values, mask), log_probs)
    assert bool((gradient[mask == 0] == 0).all())


@given(log_ratios, advantages)
def test_clipped_tokens_have_no_gradient_and_others_do(
    shift: torch.Tensor, advantage: torch.Tensor
) -> None:
    log_probs = shift.clone().requires_grad_()
    loss = policy_loss(log_probs, torch.zeros_like(shift), advantage)
    (gradient,) = torch.autograd.grad(loss.values.sum(), log_probs)
    assert bool((gradient[loss.clipped] == 0).all())
    alive = ~loss.clipped & (advantage.abs() > 1e-6).unsqueeze(-1)
    assert bool((gradient[alive] != 0).all())


@given(log_ratios, advantages)
def test_the_loss_is_bounded_by_the_clipped_ratio(
    shift: torch.Tensor, advantage: torch.Tensor
) -> None:
    loss = policy_loss(shift, torch.zeros_like(shift), advantage).values
    weight = advantage.unsqueeze(-1)
    assert bool((loss >= -weight.clamp(min=0) * 1.2 - 1e-9).all()), "no gain beyond the clip"
    assert bool((loss <= 3.0 * weight.abs().expand_as(loss) + 1e-9).all() or (weight > 0).any())
    negative = (weight < 0).expand_as(loss)
    assert bool((loss <= -3.0 * weight + 1e-9)[negative].all()), "no cost beyond the lower bound"


@given(log_ratios)
def test_k3_is_never_negative_and_zero_only_for_equals(shift: torch.Tensor) -> None:
    found = k3(shift, torch.zeros_like(shift))
    rounding = 1e-14  # of float64
    assert bool((found >= -rounding).all() and (found <= K3_LIMIT).all())
    assert bool((found[shift.abs() > 1e-3] > 0).all())
    assert bool((k3(shift, shift) == 0).all())


def test_k3_estimates_the_divergence() -> None:
    torch.manual_seed(0)
    policy, reference = torch.randn(2, 1, 1, 40).log_softmax(-1)
    drawn = torch.multinomial(policy[0].exp(), 200_000, replacement=True)
    estimate = k3(policy[0, 0][drawn], reference[0, 0][drawn]).mean()
    exact = (policy.exp() * (policy - reference)).sum()
    assert float(estimate) == pytest.approx(float(exact), rel=0.05)


@given(
    log_ratios, masks, st.sampled_from(["token-mean", "seq-mean-token-sum", "seq-mean-token-mean"])
)
def test_parts_of_a_batch_add_up_to_the_whole(
    values: torch.Tensor, mask: torch.Tensor, how
) -> None:  # type: ignore[no-untyped-def]
    total = weight_of(mask, how)
    parts = [
        aggregate(values[n : n + 2], mask[n : n + 2], how, total) for n in range(0, ROLLOUTS, 2)
    ]
    whole = float(aggregate(values, mask, how))
    assert math.isclose(float(sum(parts)), whole, rel_tol=1e-9, abs_tol=1e-9)


def test_forbidden_tokens_have_no_share_of_the_probability() -> None:
    logits = torch.randn(2, 3, 8)
    forbidden = torch.tensor([1, 5])
    everything = torch.arange(8).expand(2, 3, 8)
    shares = torch.stack(
        [log_probs_of(logits, everything[..., n], forbidden)[0].exp() for n in range(8)], -1
    )
    assert bool((shares[..., forbidden] == 0).all())
    assert torch.allclose(shares.sum(-1), torch.ones(2, 3), atol=1e-6)


def test_entropy_is_that_of_the_allowed_tokens_and_has_a_gradient() -> None:
    logits = torch.zeros(1, 1, 8, requires_grad=True)
    _, entropy = log_probs_of(logits, torch.zeros(1, 1, dtype=torch.long), torch.tensor([7]))
    assert float(entropy) == pytest.approx(math.log(7))
    (gradient,) = torch.autograd.grad(entropy.sum(), logits)
    assert bool(torch.isfinite(gradient).all())
