"""Sampling of groups of rollouts, with the log-probabilities of the sampled tokens."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch

from p2r_bench.types import Sampling
from p2r_bench_pra_grpo.backends.embedded.grpo import log_probs_of
from p2r_bench_pra_grpo.backends.embedded.inputs import Prompt
from p2r_bench_pra_grpo.backends.embedded.kv_cache import RowCache
from p2r_bench_pra_grpo.backends.embedded.policy import Policy, Read, Seen, handed_out
from p2r_bench_pra_grpo.backends.embedded.token_choice import choose_tokens


@dataclass(frozen=True)
class Rollout:
    """One answer drawn from the policy.

    Attributes:
        tokens: Ids, the end token included where one was drawn.
        log_probs: Log-probability of each token under the policy that drew it.
        text: Without special tokens.
        finish: "stop", "length", or "nan": the model's numbers overflowed, and the rollout is unusable.
    """

    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]
    text: str
    finish: str


def check_sampling(sampling: Sampling) -> None:
    """Refuse sampling from another distribution than the one whose log-probabilities are trained.

    Raises:
        ValueError: Temperature 0, or anything else that changes the distribution: filters, penalties, stop strings.
    """
    if sampling.temperature <= 0:
        raise ValueError(
            "rollouts need a temperature above 0; at 0 all rollouts of a group are the same"
        )
    neutral = replace(
        Sampling(),
        temperature=sampling.temperature,
        max_tokens=sampling.max_tokens,
        seed=sampling.seed,
    )
    for name, value in asdict(neutral).items():
        if getattr(sampling, name) != value:
            raise ValueError(
                f"rollouts are drawn from the policy itself: {name} must be {value!r}, not "
                f"{getattr(sampling, name)!r}"
            )


@torch.inference_mode()
def sample_groups(
    policy: Policy,
    prompts: Sequence[Prompt],
    seen: Sequence[Seen],
    sampling: Sampling,
    seeds: Sequence[Sequence[int]],
) -> list[list[Rollout]]:
    """Sample rollouts for every prompt, all in one batch.

    A rollout's n-th token comes from the n-th number of its own seed's generator, as in the core's engine.

    Args:
        sampling: Temperature (the policy's) and token cap.
        seeds: For each prompt, one seed per rollout.
    """
    check_sampling(sampling)
    layers = policy.loaded.model.config.get_text_config().num_hidden_layers
    cache = RowCache(layers)
    counts = [len(group) for group in seeds]
    read = handed_out(policy.read(prompts, seen, cache), counts)
    drawing = _Drawing(policy, sampling, [seed for group in seeds for seed in group])
    drawing.draw(policy.logits(read.hidden))
    done = 0
    while drawing.active:
        read = drawing.without_finished(read, cache)
        tokens = torch.tensor([[drawing.tokens[row][-1]] for row in drawing.active])
        hidden = policy.go_on(read, tokens.to(policy.device), done)
        done += 1
        drawing.draw(policy.logits(hidden[:, -1]))
    flat = iter(drawing.rollouts())
    return [[next(flat) for _ in range(count)] for count in counts]


class _Drawing:
    """The rollouts of all groups while they grow.

    Attributes:
        active: Numbers of the rollouts that are not finished, in the order of the cache's rows after
            `without_finished`.
    """

    def __init__(self, policy: Policy, sampling: Sampling, seeds: Sequence[int]) -> None:
        self.policy = policy
        self.sampling = sampling
        self.draws = [random.Random(seed) for seed in seeds]
        self.tokens: list[list[int]] = [[] for _ in seeds]
        self.log_probs: list[list[float]] = [[] for _ in seeds]
        self.finish = [""] * len(seeds)
        self.active = list(range(len(seeds)))
        self._held = list(self.active)
        self._ends = frozenset(policy.loaded.end_ids)

    def draw(self, logits: torch.Tensor) -> None:
        """Draw one more token for every active rollout."""
        sampling = Sampling(temperature=1.0, max_tokens=self.sampling.max_tokens)
        rows = len(self.active)
        chosen = choose_tokens(
            logits,
            [sampling] * rows,  # the policy has divided by the temperature
            [self.draws[number] for number in self.active],
            torch.zeros((rows, 0), dtype=torch.bool),
            self.policy.forbidden,
        )
        ids = torch.tensor([[token or 0] for token in chosen], device=logits.device)
        log_probs, _ = log_probs_of(logits.unsqueeze(1), ids, self.policy.forbidden)
        for number, token, log_prob in zip(
            self.active, chosen, log_probs.squeeze(1).tolist(), strict=True
        ):
            self._append(number, token, log_prob)
        self.active = [number for number in self.active if not self.finish[number]]

    def without_finished(self, read: Read, cache: RowCache) -> Read:
        """Return the rows of the active rollouts."""
        if len(self.active) == len(self._held):
            return read
        places = [row for row, number in enumerate(self._held) if not self.finish[number]]
        cache.keep(places, 0)
        self._held = list(self.active)
        rows = torch.tensor(places, device=read.hidden.device)
        return Read(cache, read.hidden[rows], read.pads[rows], read.starts[rows])

    def rollouts(self) -> list[Rollout]:
        return [
            Rollout(
                tuple(tokens),
                tuple(log_probs),
                self.policy.loaded.tokenizer.decode(
                    tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
                ),
                finish,
            )
            for tokens, log_probs, finish in zip(
                self.tokens, self.log_probs, self.finish, strict=True
            )
        ]

    def _append(self, number: int, token: int | None, log_prob: float) -> None:
        if token is None:
            self.finish[number] = "nan"
            return
        self.tokens[number].append(token)
        self.log_probs[number].append(log_prob)
        if token in self._ends:
            self.finish[number] = "stop"
        elif len(self.tokens[number]) >= self.sampling.max_tokens:
            self.finish[number] = "length"
