"""Updates of the policy from groups of rollouts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from p2r_bench.errors import UserError
from p2r_bench_pra_grpo.backends.embedded.grpo import aggregate, k3, policy_loss, weight_of
from p2r_bench_pra_grpo.backends.embedded.inputs import Prompt
from p2r_bench_pra_grpo.backends.embedded.policy import Policy, Scored, Seen
from p2r_bench_pra_grpo.backends.embedded.rollouts import Rollout
from p2r_bench_pra_grpo.backends.embedded.settings import Settings
from p2r_bench_pra_grpo.config import GRPO

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """Rollouts of one prompt that have a reward, at least two, and their advantages.

    Attributes:
        seen: The prompt's visual features; None where the tower is trained too.
    """

    prompt: Prompt
    seen: Seen | None
    rollouts: Sequence[Rollout]
    advantages: Sequence[float]


class Learner:
    """The policy, its frozen reference and the optimiser.

    The optimiser changes float32 weights, because a usual step is too small for bfloat16 and would round to zero. A
    policy of another precision has its weights rounded from them after every step; a float32 policy is changed
    directly.
    """

    def __init__(self, policy: Policy, reference: Policy, grpo: GRPO, settings: Settings) -> None:
        self.policy = policy
        self.reference = reference
        self.grpo = grpo
        self.settings = settings
        self._weights = {name: _in_float32(p) for name, p in policy.trained().items()}
        self.optimizer = torch.optim.AdamW(
            list(self._weights.values()),
            lr=grpo.learning_rate,
            weight_decay=settings.weight_decay,
        )

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 1."""
        rise = min(1.0, step / self.settings.warmup_steps) if self.settings.warmup_steps else 1.0
        return self.grpo.learning_rate * rise

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the trained parameters by name, in float32, and the optimiser's state."""
        weights = {name: weight.detach() for name, weight in self._weights.items()}
        return weights, self.optimizer.state_dict()

    def restore(self, parameters: Mapping[str, Tensor], optimizer: dict[str, Any]) -> None:
        """Put a saved state back."""
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(parameters[name])
        self._round()
        self.optimizer.load_state_dict(optimizer)

    def update(self, groups: Sequence[Group], step: int) -> dict[str, float]:
        """Learn from a step's groups; return its columns of the metrics.

        Raises:
            UserError: The gradient is not a number.
        """
        for setting in self.optimizer.param_groups:
            setting["lr"] = self.learning_rate(step)
        told = _Told()
        references: dict[int, list[Tensor]] = {}
        if self.grpo.beta:
            for part in _parts(groups, self.settings.micro_batch):
                references.update(self._references(part))
        for _ in range(self.settings.num_iterations):
            for mini in _parts(groups, self.grpo.prompts_per_update):
                self.optimizer.zero_grad(set_to_none=True)
                self._gradients(mini, references, told)
                told.note_norm(self._step())
        return {**told.columns(), "learning_rate": self.learning_rate(step)}

    def _step(self) -> float:
        weights = list(self._weights.values())
        norm = float(torch.nn.utils.clip_grad_norm_(weights, self.settings.max_grad_norm))
        if not math.isfinite(norm):
            raise UserError(
                "the gradient is not finite: the training has diverged. Lower grpo.learning_rate; the newest "
                "checkpoint is from before"
            )
        self.optimizer.step()
        self._round()
        return norm

    def _round(self) -> None:
        """Round the weights to the policy's own precision."""
        with torch.no_grad():
            for weight, parameter in self._rounded():
                parameter.copy_(weight)

    def _take_gradients(self) -> None:
        """Add the policy's gradients to those of the float32 weights, and clear them."""
        for weight, parameter in self._rounded():
            if parameter.grad is not None:
                gradient, parameter.grad = parameter.grad.to(weight.dtype), None
                weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)

    def _rounded(self) -> Iterator[tuple[Tensor, nn.Parameter]]:
        """Weights and the policy's parameters that are rounded from them; none for a policy in float32."""
        for name, parameter in self.policy.trained().items():
            if (weight := self._weights[name]) is not parameter:
                yield weight, parameter

    def _gradients(
        self, mini: Sequence[Group], references: dict[int, list[Tensor]], told: _Told
    ) -> None:
        """Add the gradients of a mini-batch, some prompts at a time."""
        how = self.grpo.loss_aggregation
        lengths = [len(r.tokens) for group in mini for r in group.rollouts]
        total = float(sum(lengths) if how == "token-mean" else len(lengths))
        for micro in _parts(mini, self.settings.micro_batch):
            scored = _score(self.policy, micro)
            drawn = [rollout for group in micro for rollout in group.rollouts]
            advantages = torch.tensor(
                [a for group in micro for a in group.advantages], device=scored.mask.device
            )
            loss = policy_loss(
                scored.log_probs,
                _padded((torch.tensor(r.log_probs) for r in drawn), scored.mask),
                advantages,
                epsilon_low=self.grpo.epsilon,
                epsilon_high=self.grpo.epsilon,
            )
            values = loss.values - self.grpo.entropy_coef * scored.entropy
            divergence = torch.zeros_like(values)
            if self.grpo.beta:
                rows = (row for group in micro for row in references[id(group)])
                divergence = k3(scored.log_probs, _padded(rows, scored.mask))
                values = values + self.grpo.beta * divergence
            share = aggregate(values, scored.mask, how, total)
            torch.autograd.backward(share)
            self._take_gradients()
            told.note(share, scored, loss.clipped, divergence)

    @torch.no_grad()
    def _references(self, groups: Sequence[Group]) -> dict[int, list[Tensor]]:
        """Return the reference's log-probabilities of every rollout, by the group's identity."""
        rows = iter(_score(self.reference, groups).log_probs)
        return {
            id(group): [next(rows)[: len(r.tokens)] for r in group.rollouts] for group in groups
        }


class _Told:
    """Sums over the mini-batches of a step."""

    def __init__(self) -> None:
        self.loss = self.tokens = self.clipped = self.divergence = self.entropy = 0.0
        self.norms: list[float] = []

    def note(self, loss: Tensor, scored: Scored, clipped: Tensor, divergence: Tensor) -> None:
        mask = scored.mask
        self.loss += float(loss.detach())
        self.tokens += weight_of(mask)
        self.clipped += float((clipped * mask).sum())
        self.divergence += float((divergence.detach() * mask).sum())
        self.entropy += float((scored.entropy.detach() * mask).sum())

    def note_norm(self, norm: float) -> None:
        self.norms.append(norm)

    def columns(self) -> dict[str, float]:
        tokens, updates = max(self.tokens, 1.0), max(len(self.norms), 1)
        return {
            "loss": self.loss / updates,
            "grad_norm": sum(self.norms) / updates,
            "clip_share": self.clipped / tokens,
            "kl": self.divergence / tokens,
            "entropy": self.entropy / tokens,
        }


def _in_float32(parameter: nn.Parameter) -> Tensor:
    """Return a float32 parameter itself, or a float32 copy of another."""
    if parameter.dtype == torch.float32:
        return parameter
    return parameter.detach().float().requires_grad_()


def _score(policy: Policy, groups: Sequence[Group]) -> Scored:
    prompts = [group.prompt for group in groups]
    known = [group.seen for group in groups if group.seen is not None]
    seen = known if len(known) == len(groups) else policy.see(prompts)
    return policy.score(prompts, seen, [[r.tokens for r in group.rollouts] for group in groups])


def _padded(rows: Iterable[Tensor], mask: Tensor) -> Tensor:
    """Return (n, t): rows of different lengths, padded on the right."""
    padded = torch.zeros_like(mask)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded


def _parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
