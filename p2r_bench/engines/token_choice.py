"""Which token comes next, for rows with different sampling settings."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from p2r_bench.types import Sampling


def choose_tokens(
    logits: torch.Tensor,
    samplings: Sequence[Sampling],
    draws: Sequence[random.Random],
    seen: torch.Tensor,
    suppressed: torch.Tensor,
) -> list[int | None]:
    """One token id per row; None for a row whose logits are not numbers.

    Temperature 0 takes the likeliest token. Otherwise the n-th token of a row uses the n-th number of
    its own generator, by inverting the cumulative distribution in order of falling probability: the
    outcome depends on the seed and the logits, never on the other rows or the device's generator.

    Args:
        logits: (rows, vocabulary).
        seen: (rows, vocabulary), true for tokens of the prompt and the output so far. A repetition
            penalty r divides positive logits of these by r and multiplies negative ones (CTRL,
            arXiv 1909.05858).
        suppressed: Ids that are never chosen.
    """
    scores = logits.float()
    broken = ~torch.isfinite(scores.amax(dim=-1))
    penalties = [s.repetition_penalty for s in samplings]
    if any(p != 1.0 for p in penalties):
        factor = torch.tensor(penalties, device=scores.device).unsqueeze(-1)
        punished = torch.where(scores > 0, scores / factor, scores * factor)
        scores = torch.where(seen, punished, scores)
    scores = scores.index_fill(-1, suppressed, float("-inf"))
    chosen = scores.argmax(dim=-1)
    sampled = [row for row, s in enumerate(samplings) if s.temperature > 0]
    if sampled:
        index = torch.tensor(sampled, device=scores.device)
        temperature = [samplings[row].temperature for row in sampled]
        top_p = [samplings[row].top_p for row in sampled]
        uniform = [draws[row].random() for row in sampled]
        chosen[index] = _draw(scores[index], temperature, top_p, uniform)
    ids = torch.where(broken, -1, chosen).tolist()
    return [None if token < 0 else token for token in ids]


def _draw(
    scores: torch.Tensor, temperature: list[float], top_p: list[float], uniform: list[float]
) -> torch.Tensor:
    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, device=scores.device, dtype=scores.dtype).unsqueeze(-1)

    probabilities, order = torch.softmax(scores / column(temperature), dim=-1).sort(
        dim=-1, descending=True, stable=True
    )
    cumulative = probabilities.cumsum(dim=-1)
    # Nucleus: the fewest likeliest tokens whose mass reaches top_p; the first is always among them.
    kept = (cumulative - probabilities < column(top_p)).sum(dim=-1, keepdim=True).clamp(min=1)
    mass = cumulative.gather(-1, kept - 1)
    rank = (cumulative <= column(uniform) * mass).sum(dim=-1, keepdim=True).minimum(kept - 1)
    return order.gather(-1, rank).squeeze(-1)
