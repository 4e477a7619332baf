"""Tokens are drawn from the distribution that the settings describe, with numbers of the row's own."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2r_bench.engines.sampling import RowSampler
from p2r_bench.types import Sampling

NONE = torch.tensor([], dtype=torch.long)
LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0, 1.5]])


def draws(sampling: Sampling, count: int, suppressed: torch.Tensor = NONE) -> list[int]:
    sampler, ids = RowSampler(sampling, 1), torch.tensor([[0]])
    return [int(sampler.choose(ids, LOGITS, suppressed)) for _ in range(count)]


def test_frequencies_are_the_probabilities() -> None:
    found = Counter(draws(Sampling(temperature=0.7, max_tokens=1, seed=3), 4000))
    expected = torch.softmax(LOGITS[0] / 0.7, -1).tolist()
    for token, probability in enumerate(expected):
        spread = 4 * math.sqrt(probability * (1 - probability) / 4000)
        assert found[token] / 4000 == pytest.approx(probability, abs=spread)


@pytest.mark.parametrize(
    ("limits", "allowed"),
    [
        ({"top_k": 2}, {0, 4}),
        ({"top_p": 0.5}, {0, 4}),
        ({"min_p": 0.3}, {0, 1, 4}),
        ({"top_k": 3, "top_p": 0.4}, {0}),
        ({"min_p": 0.3, "top_k": 4, "top_p": 0.99}, {0, 1, 4}),
    ],
    ids=str,
)
def test_limits_leave_the_likeliest_tokens(limits: dict[str, float], allowed: set[int]) -> None:
    sampling = Sampling(temperature=1.0, max_tokens=1, **limits)  # type: ignore[arg-type]
    assert set(draws(sampling, 400)) == allowed


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), temperature=st.floats(0.01, 50))
def test_a_suppressed_token_is_never_drawn_and_a_seed_repeats(
    seed: int, temperature: float
) -> None:
    sampling = Sampling(temperature=temperature, max_tokens=1, seed=seed)
    suppressed = torch.tensor([0, 4])
    first = draws(sampling, 20, suppressed)
    assert not set(first) & {0, 4}
    assert first == draws(sampling, 20, suppressed)


def test_penalties_count_the_output_alone_and_repetition_the_prompt_too() -> None:
    prompt_and_output = torch.tensor([[0, 4, 4]])
    frequency = RowSampler(Sampling(max_tokens=1, frequency_penalty=0.6), 1)
    assert int(frequency.choose(prompt_and_output, LOGITS, NONE)) == 0
    presence = RowSampler(Sampling(max_tokens=1, presence_penalty=1.2), 0)
    assert int(presence.choose(prompt_and_output, LOGITS, NONE)) == 1
    repetition = RowSampler(Sampling(max_tokens=1, repetition_penalty=4.0), 1)
    assert int(repetition.choose(prompt_and_output, LOGITS, NONE)) == 1
