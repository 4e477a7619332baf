"""The embedded backend's arithmetic is verl's."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from p2r_bench_pra_grpo.backends.embedded import grpo
from verl.trainer.ppo.core_algos import (
    agg_loss,
    compute_grpo_outcome_advantage,
    compute_policy_loss_vanilla,
    kl_penalty,
)
from verl.workers.config import FSDPActorConfig

CLOSE = {"atol": 1e-6, "rtol": 1e-5}


def masks(rows: int, columns: int, draw: torch.Generator) -> torch.Tensor:
    """(rows, columns) of rollouts with at least one token each."""
    lengths = torch.randint(1, columns + 1, (rows, 1), generator=draw)
    return (torch.arange(columns) < lengths).float()


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 8), min_size=1, max_size=5),
    seed=st.integers(0, 2**31),
    flat=st.booleans(),
    by_std=st.booleans(),
)
def test_advantages(sizes: list[int], seed: int, flat: bool, by_std: bool) -> None:
    draw = torch.Generator().manual_seed(seed)
    groups = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    groups = groups[torch.randperm(len(groups), generator=draw)]
    rewards = torch.rand(len(groups), generator=draw).mul(3).round() * (not flat)
    mask = masks(len(groups), 7, draw)
    scores = torch.zeros_like(mask)
    scores[torch.arange(len(groups)), mask.sum(dim=1).long() - 1] = rewards
    theirs, _ = compute_grpo_outcome_advantage(
        scores,
        mask,
        np.array([str(g) for g in groups.tolist()], dtype=object),
        norm_adv_by_std_in_grpo=by_std,
    )
    ours = grpo.group_advantages(rewards, groups, by_std=by_std).unsqueeze(-1) * mask
    assert torch.allclose(ours, theirs, **CLOSE)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 6),
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([0.01, 0.5, 3.0, 40.0]),
    how=st.sampled_from(["token-mean", "seq-mean-token-sum", "seq-mean-token-mean"]),
    clips=st.sampled_from([(0.2, 0.2), (0.2, 0.28)]),
)
def test_policy_loss_and_its_gradient(
    rows: int, seed: int, spread: float, how: grpo.Aggregation, clips: tuple[float, float]
) -> None:
    draw = torch.Generator().manual_seed(seed)
    old = -torch.rand((rows, 9), generator=draw) * 3
    now = (old + spread * torch.randn((rows, 9), generator=draw)).requires_grad_()
    advantages = torch.randn(rows, generator=draw)
    mask = masks(rows, 9, draw)
    low, high = clips
    config = FSDPActorConfig(
        strategy="fsdp", rollout_n=8, use_dynamic_bsz=True, clip_ratio_low=low, clip_ratio_high=high
    )
    theirs, _ = compute_policy_loss_vanilla(
        old, now, advantages.unsqueeze(-1) * mask, mask, how, config
    )
    loss = grpo.policy_loss(now, old, advantages, epsilon_low=low, epsilon_high=high)
    ours = grpo.aggregate(loss.values, mask, how)
    assert torch.allclose(ours, theirs, **CLOSE)
    slopes = [torch.autograd.grad(value, now, retain_graph=True)[0] for value in (ours, theirs)]
    assert torch.allclose(*slopes, **CLOSE)


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 6), seed=st.integers(0, 2**31), spread=st.sampled_from([0.1, 2.0, 30.0]))
def test_kl_term_and_its_gradient(rows: int, seed: int, spread: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    reference = -torch.rand((rows, 9), generator=draw) * 3
    now = (reference + spread * torch.randn((rows, 9), generator=draw)).requires_grad_()
    mask = masks(rows, 9, draw)
    theirs = agg_loss(kl_penalty(now, reference, "low_var_kl"), mask, "token-mean")
    ours = grpo.aggregate(grpo.k3(now, reference), mask)
    assert torch.allclose(ours, theirs, **CLOSE)
    slopes = [torch.autograd.grad(value, now)[0] for value in (ours, theirs)]
    assert torch.allclose(*slopes, **CLOSE)
