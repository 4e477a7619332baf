"""Choice of the next token, for rows with different sampling settings."""

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
    counts: torch.Tensor | None = None,
) -> list[int | None]:
    """Return one token id per row; None for a row whose logits are not numbers.

    Temperature 0 takes the likeliest token. Otherwise the n-th token of a row uses the n-th number of
    its own generator, by inverting the cumulative distribution in order of falling probability: the
    outcome depends on the seed and the logits, never on the other rows or the device's generator.

    Args:
        logits: (rows, vocabulary).
        seen: (rows, vocabulary), true for tokens of the prompt and the output so far. A repetition
            penalty r divides positive logits of these by r and multiplies negative ones (CTRL,
            arXiv 1909.05858).
        suppressed: Ids that are never chosen.
        counts: (rows, vocabulary), how often the output so far holds each token. Needed by presence and
            frequency penalties only, which are vLLM's: logit - frequency · count - presence · (count > 0).
    """
    scores = logits.float()
    broken = ~torch.isfinite(scores.amax(dim=-1))
    scores = _penalised(scores, samplings, seen, counts)
    scores = scores.index_fill(-1, suppressed, float("-inf"))
    chosen = scores.argmax(dim=-1)
    sampled = [row for row, s in enumerate(samplings) if s.temperature > 0]
    if sampled:
        index = torch.tensor(sampled, device=scores.device)
        uniform = [draws[row].random() for row in sampled]
        chosen[index] = _draw(scores[index], [samplings[row] for row in sampled], uniform)
    ids = torch.where(broken, -1, chosen).tolist()
    return [None if token < 0 else token for token in ids]


def _penalised(
    scores: torch.Tensor,
    samplings: Sequence[Sampling],
    seen: torch.Tensor,
    counts: torch.Tensor | None,
) -> torch.Tensor:
    if any(s.repetition_penalty != 1.0 for s in samplings):
        factor = _column(scores, [s.repetition_penalty for s in samplings])
        punished = torch.where(scores > 0, scores / factor, scores * factor)
        scores = torch.where(seen, punished, scores)
    if any(s.frequency_penalty or s.presence_penalty for s in samplings):
        if counts is None:
            raise ValueError("presence and frequency penalties need the counts of output tokens")
        scores = scores - _column(scores, [s.frequency_penalty for s in samplings]) * counts
        scores = scores - _column(scores, [s.presence_penalty for s in samplings]) * (counts > 0)
    return scores


def _draw(
    scores: torch.Tensor, samplings: Sequence[Sampling], uniform: list[float]
) -> torch.Tensor:
    """Draw one token per row, after `min_p`, `top_k` and `top_p` in this order, as vLLM applies them."""
    temperature = _column(scores, [s.temperature for s in samplings])
    probabilities, order = torch.softmax(scores / temperature, dim=-1).sort(
        dim=-1, descending=True, stable=True
    )
    if any(s.top_k or s.min_p for s in samplings):
        floor = _column(scores, [s.min_p for s in samplings]) * probabilities[:, :1]
        ranks = torch.arange(probabilities.shape[-1], device=scores.device)
        limit = _column(scores, [s.top_k or probabilities.shape[-1] for s in samplings])
        probabilities = probabilities * ((probabilities >= floor) & (ranks < limit))
        probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    cumulative = probabilities.cumsum(dim=-1)
    # Nucleus: the fewest likeliest tokens whose mass reaches top_p; the first is always among them.
    top_p = _column(scores, [s.top_p for s in samplings])
    kept = ((cumulative - probabilities < top_p) & (probabilities > 0)).sum(dim=-1, keepdim=True)
    kept = kept.clamp(min=1)
    mass = cumulative.gather(-1, kept - 1)
    rank = (cumulative <= _column(scores, uniform) * mass).sum(dim=-1, keepdim=True)
    return order.gather(-1, rank.minimum(kept - 1)).squeeze(-1)


def _column(scores: torch.Tensor, values: Sequence[float]) -> torch.Tensor:
    return torch.tensor(values, device=scores.device, dtype=scores.dtype).unsqueeze(-1)
