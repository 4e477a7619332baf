"""How tokens are drawn."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import RepetitionPenaltyLogitsProcessor, TopPLogitsWarper

from p2r_bench.engines.token_choice import choose_tokens
from p2r_bench.types import Sampling

NONE = torch.tensor([], dtype=torch.long)


def choose(logits: torch.Tensor, sampling: Sampling, count: int = 1) -> list[int | None]:
    """`count` draws of a row, one after the other."""
    draw = random.Random(sampling.seed)
    seen = torch.zeros(1, len(logits), dtype=torch.bool)
    return [choose_tokens(logits[None], [sampling], [draw], seen, NONE)[0] for _ in range(count)]


def test_frequencies_follow_the_probabilities() -> None:
    logits = torch.log(torch.tensor([0.1, 0.6, 0.3]))
    drawn = Counter(choose(logits, Sampling(temperature=1.0, seed=0), 4000))
    for token, probability in enumerate((0.1, 0.6, 0.3)):
        assert drawn[token] / 4000 == pytest.approx(probability, abs=0.03)


def test_temperature_sharpens() -> None:
    logits = torch.log(torch.tensor([0.2, 0.8]))
    drawn = Counter(choose(logits, Sampling(temperature=0.5, seed=0), 4000))
    assert drawn[1] / 4000 == pytest.approx(0.8**2 / (0.8**2 + 0.2**2), abs=0.03)


@settings(deadline=None)
@given(
    logits=st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=30),
    top_p=st.floats(0.01, 1.0),
    seed=st.integers(0, 1000),
)
def test_only_tokens_of_the_nucleus_are_drawn(logits: list[float], top_p: float, seed: int) -> None:
    scores = torch.tensor(logits)
    allowed = TopPLogitsWarper(top_p + 1e-4 if top_p < 0.99 else 1.0)(NONE, scores[None].clone())[0]
    for token in choose(scores, Sampling(temperature=1.0, top_p=top_p, seed=seed), 5):
        # Ties are broken differently; a token as likely as an allowed one is as good.
        assert scores[token] >= scores[allowed > -torch.inf].min() - 1e-4


@settings(deadline=None)
@given(
    logits=st.lists(st.floats(-5, 5, width=32), min_size=6, max_size=6),
    seen=st.sets(st.integers(0, 5)),
    penalty=st.sampled_from([1.05, 1.3, 2.0]),
)
def test_the_repetition_penalty_is_the_libraries(
    logits: list[float], seen: set[int], penalty: float
) -> None:
    scores = torch.tensor([logits])
    mask = torch.zeros(1, 6, dtype=torch.bool)
    mask[0, list(seen)] = True
    (ours,) = choose_tokens(
        scores, [Sampling(repetition_penalty=penalty)], [random.Random()], mask, NONE
    )
    if seen:
        scores = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([sorted(seen)]), scores)
    assert scores[0, ours] == scores.max()


def test_rows_have_their_own_settings() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.0]] * 3)
    samplings = [Sampling(), Sampling(temperature=1e-3), Sampling(temperature=1.0, top_p=1e-6)]
    draws = [random.Random(seed) for seed in range(3)]
    assert choose_tokens(logits, samplings, draws, torch.zeros(3, 3, dtype=torch.bool), NONE) == [
        1,
        1,
        1,
    ]


@pytest.mark.parametrize("temperature", [0.0, 1.0, 100.0])
def test_suppressed_tokens_are_never_chosen(temperature: float) -> None:
    logits = torch.tensor([[50.0, 1.0, 60.0, 0.0]])
    draw = random.Random(0)
    sampling = Sampling(temperature=temperature)
    for _ in range(100):
        (token,) = choose_tokens(logits, [sampling], [draw], logits > 99, torch.tensor([0, 2]))
        assert token in (1, 3)


def test_a_row_without_numbers_gets_no_token_and_others_do() -> None:
    logits = torch.tensor([[float("nan"), 1.0], [0.0, 1.0], [float("inf"), 0.0]])
    samplings = [Sampling(), Sampling(), Sampling(temperature=1.0)]
    draws = [random.Random(0)] * 3
    assert choose_tokens(logits, samplings, draws, logits > 9, NONE) == [None, 1, None]
