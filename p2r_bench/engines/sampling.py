"""Choice of tokens in a batch whose rows each have their own settings and random numbers."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from p2r_bench.types import Sampling


class OutputPenalties(LogitsProcessor):
    """Frequency and presence penalties as vLLM defines them: logit − frequency · count − presence.

    Args:
        start: Index of the first output token.
    """

    def __init__(self, frequency: float, presence: float, start: int) -> None:
        self.frequency = frequency
        self.presence = presence
        self.start = start

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        tokens, counts = input_ids[0, self.start :].unique(return_counts=True)
        scores = scores.clone()
        scores[0, tokens] -= self.frequency * counts + self.presence
        return scores


class RowSampler:
    """Chooses the tokens of one row.

    Temperature 0 takes the likeliest token. Otherwise the n-th number of the row's own generator draws the n-th token,
    by inverting the cumulative distribution. The outcome depends on the seed and the logits, never on the other rows or
    the device's generator.

    Args:
        prompt_tokens: Tokens of the prompt without padding.
    """

    def __init__(self, sampling: Sampling, prompt_tokens: int) -> None:
        self._penalties = LogitsProcessorList()
        self._filters = LogitsProcessorList()
        if sampling.repetition_penalty != 1.0:
            self._penalties.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
        if sampling.frequency_penalty or sampling.presence_penalty:
            self._penalties.append(
                OutputPenalties(
                    sampling.frequency_penalty, sampling.presence_penalty, prompt_tokens
                )
            )
        self._generator: torch.Generator | None = None
        if sampling.temperature > 0:
            self._generator = torch.Generator()
            if sampling.seed is None:
                self._generator.seed()
            else:
                self._generator.manual_seed(sampling.seed)
            self._filters.append(TemperatureLogitsWarper(sampling.temperature))
            if sampling.min_p:
                self._filters.append(MinPLogitsWarper(sampling.min_p))
            if sampling.top_k:
                self._filters.append(TopKLogitsWarper(sampling.top_k))
            if sampling.top_p < 1.0:
                self._filters.append(TopPLogitsWarper(sampling.top_p))

    @property
    def is_plain(self) -> bool:
        """True if the row takes the likeliest token, without penalties."""
        return self._generator is None and not self._penalties

    def choose(self, ids: Any, scores: Any, suppressed: torch.Tensor) -> torch.Tensor:
        """Return the chosen token, a scalar.

        Args:
            ids: (1, length), the row without padding.
            scores: (1, vocabulary).
            suppressed: Tokens that are never chosen.
        """
        scores = self._penalties(ids, scores)
        scores = scores.index_fill(-1, suppressed, float("-inf"))
        if self._generator is None:
            likeliest: torch.Tensor = scores[0].argmax()
            return likeliest
        mass = self._filters(ids, scores)[0].softmax(-1).cumsum(-1)
        point = torch.rand((), generator=self._generator).to(mass.device) * mass[-1]
        # Rounding must not reach the end of the distribution, where tokens have no probability.
        point = torch.minimum(point, torch.nextafter(mass[-1], torch.zeros_like(mass[-1])))
        return torch.searchsorted(mass, point.unsqueeze(0), right=True)[0]
