"""The arithmetic of GRPO, on tensors alone (arXiv 2402.03300; figures as verl's `core_algos` gives them).

Shapes: n rollouts of at most t tokens. `mask` is (n, t): 1 for a rollout's tokens, 0 for padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Aggregation = Literal["token-mean", "seq-mean-token-sum", "seq-mean-token-mean"]

EXTREME = 20.0
"""Log-ratios are clamped to this, so that their exponential is finite."""
K3_LIMIT = 10.0
"""Upper bound of one token's KL estimate."""


def complete_groups(groups: Tensor, least: int = 2) -> Tensor:
    """Return (n,) bool: true for rollouts whose group has at least `least` members.

    A lone rollout cannot be compared with others from the same prompt.

    Args:
        groups: (n,) integers; equal numbers are rollouts of the same prompt.
    """
    _, member_of, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    complete: Tensor = (sizes >= least)[member_of]
    return complete


def group_advantages(
    rewards: Tensor, groups: Tensor, *, epsilon: float = 1e-6, by_std: bool = True
) -> Tensor:
    """Return (n,) advantages: reward minus the group's mean, over its standard deviation (n − 1) plus `epsilon`.

    Args:
        rewards: (n,), finite.
        groups: (n,) integers; every group has at least two members (`complete_groups`).
        by_std: False leaves out the division (Dr. GRPO, arXiv 2503.20783).

    Raises:
        ValueError: A reward is not finite, or a rollout is alone in its group.
    """
    if not bool(torch.isfinite(rewards).all()):
        raise ValueError("a reward is not finite, so its group has no advantages")
    if not bool(complete_groups(groups).all()):
        raise ValueError("a rollout alone in its group has no advantage: leave it out")
    _, member_of, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    zeros = rewards.new_zeros(len(sizes))
    mean = zeros.index_add(0, member_of, rewards) / sizes
    centred: Tensor = rewards - mean[member_of]
    if not by_std:
        return centred
    variance = zeros.index_add(0, member_of, centred.square()) / (sizes - 1)
    advantages: Tensor = centred / (variance.sqrt()[member_of] + epsilon)
    return advantages


def aggregate(
    values: Tensor, mask: Tensor, how: Aggregation = "token-mean", total: float | None = None
) -> Tensor:
    """Aggregate (n, t) values over the tokens of `mask`; 0 without tokens.

    "token-mean": the mean over all tokens (verl's default); "seq-mean-token-sum" and "seq-mean-token-mean": the mean
    over rollouts of their tokens' sum or mean.

    Args:
        total: Divisor of the sum. For a part of a batch pass `weight_of` the whole batch: the parts' values then add up
            to the batch's.
    """
    values = torch.where(mask.bool(), values, 0.0)
    if how == "seq-mean-token-mean":
        values = values / mask.sum(dim=-1, keepdim=True).clamp(min=1)
    return values.sum() / max(weight_of(mask, how) if total is None else total, 1.0)


def weight_of(mask: Tensor, how: Aggregation = "token-mean") -> float:
    """Return the divisor of `aggregate`: the tokens, or the rollouts that have any."""
    tokens = mask.sum(dim=-1)
    return float(tokens.sum() if how == "token-mean" else (tokens > 0).sum())


@dataclass(frozen=True)
class PolicyLoss:
    """The clipped objective, token by token.

    Attributes:
        values: (n, t), to be aggregated and minimised.
        clipped: (n, t) bool: the ratio is clipped, and the token has no gradient.
    """

    values: Tensor
    clipped: Tensor


def policy_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    *,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.2,
    dual_clip: float = 3.0,
) -> PolicyLoss:
    """Return PPO's clipped objective (arXiv 1707.06347) with its lower bound for negative advantages (arXiv 1912.09729).

    Args:
        log_probs: (n, t) of the sampled tokens under the policy now.
        old_log_probs: (n, t) under the policy that sampled them.
        advantages: (n,).
        epsilon_low, epsilon_high: The ratio is clipped to 1 − epsilon_low … 1 + epsilon_high.
        dual_clip: A token with a negative advantage costs at most this many times its size.
    """
    advantage = advantages.unsqueeze(-1)
    shift = (log_probs - old_log_probs).clamp(-EXTREME, EXTREME)
    ratio = shift.exp()
    plain = -advantage * ratio
    bounded = -advantage * ratio.clamp(1 - epsilon_low, 1 + epsilon_high)
    pessimistic = torch.maximum(plain, bounded)
    floor = (-advantage * dual_clip).expand_as(pessimistic)
    negative = (advantage < 0).expand_as(pessimistic)
    values = torch.where(negative, torch.minimum(pessimistic, floor), pessimistic)
    return PolicyLoss(values, (bounded > plain) | (negative & (pessimistic > floor)))


def k3(log_probs: Tensor, reference: Tensor) -> Tensor:
    """Return an (n, t) estimate of KL(policy ‖ reference) from the sampled tokens: r − 1 − log r with r = reference/policy.

    Never negative, unbiased and of low variance (Schulman, "Approximating KL Divergence", 2020). Clamped at `K3_LIMIT`.

    Args:
        log_probs, reference: (n, t) log-probabilities of the sampled tokens under the policy and the reference.
    """
    shift = (reference - log_probs).clamp(-EXTREME, EXTREME)
    return (shift.exp() - shift - 1).clamp(max=K3_LIMIT)


def log_probs_of(logits: Tensor, tokens: Tensor, forbidden: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities of tokens and the entropy of their distributions, both (n, t).

    Args:
        logits: (n, t, vocabulary), already divided by the temperature.
        tokens: (n, t) ids.
        forbidden: Ids that are never sampled; they have no share of the probability.
    """
    allowed = logits.float().index_fill(-1, forbidden, float("-inf"))
    log_softmax = allowed.log_softmax(dim=-1)
    entropy = -(log_softmax.exp() * log_softmax.masked_fill(allowed.isinf(), 0.0)).sum(dim=-1)
    return log_softmax.gather(-1, tokens.unsqueeze(-1)).squeeze(-1), entropy
