"""Tokens are drawn by the settings of their row."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from p2r_bench_pra_grpo.backends.embedded.token_choice import choose_tokens
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

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


DISTINCT = st.lists(st.integers(-60, 60), min_size=3, max_size=20, unique=True)
"""Logits without ties, in tenths: the libraries break ties in other ways."""


def allowed_tokens(scores: torch.Tensor) -> set[int]:
    return set(torch.nonzero(scores[0] > -torch.inf).flatten().tolist())


class Fixed(random.Random):
    def __init__(self, number: float) -> None:
        self.number = number

    def random(self) -> float:
        return self.number


def drawn_tokens(scores: torch.Tensor, sampling: Sampling) -> set[int | None]:
    """Tokens that numbers spread evenly over 0 to 1 draw."""
    count = 500
    rows = scores.expand(count, -1)
    draws = [Fixed(number / count) for number in range(count)]
    seen = torch.zeros(rows.shape, dtype=torch.bool)
    return set(choose_tokens(rows, [sampling] * count, draws, seen, NONE))


@settings(deadline=None, max_examples=20)
@given(logits=DISTINCT, top_k=st.integers(1, 12))
def test_top_k_is_the_libraries(logits: list[int], top_k: int) -> None:
    scores = torch.tensor([logits]) / 10
    allowed = allowed_tokens(TopKLogitsWarper(top_k)(NONE, scores.clone()))
    drawn = drawn_tokens(scores, Sampling(temperature=4.0, top_k=top_k))
    assert drawn <= allowed
    assert len(drawn) == len(allowed) or len(drawn) > 4


@settings(deadline=None, max_examples=20)
@given(logits=DISTINCT, min_p=st.sampled_from([0.2, 0.5, 0.9, 1.0]))
def test_min_p_is_the_libraries(logits: list[int], min_p: float) -> None:
    scores = torch.tensor([logits]) / 10
    allowed = allowed_tokens(MinPLogitsWarper(min_p)(NONE, scores.clone()))
    assert drawn_tokens(scores, Sampling(temperature=1.0, min_p=min_p)) == allowed


def test_min_p_is_a_share_of_the_likeliest_token_after_the_temperature() -> None:
    scores = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    assert drawn_tokens(scores, Sampling(temperature=1.0, min_p=0.5)) == {0, 1}
    assert drawn_tokens(scores, Sampling(temperature=3.0, min_p=0.5)) == {0, 1, 2}


def test_the_nucleus_is_taken_of_what_top_k_leaves() -> None:
    scores = torch.log(torch.tensor([[0.4, 0.3, 0.2, 0.1]]))
    # Of the three that are left the first two hold 0.78, so that the third is needed for 0.8.
    both = Sampling(temperature=1.0, top_k=3, top_p=0.8)
    assert drawn_tokens(scores, both) == {0, 1, 2}
    assert drawn_tokens(scores, Sampling(temperature=1.0, top_k=2, top_p=0.55)) == {0}


@pytest.mark.parametrize("temperature", [0.0, 1e-4])
def test_presence_and_frequency_penalties_are_vllms(temperature: float) -> None:
    """logit - frequency * count - presence * (count > 0), on tokens of the output alone."""
    logits = torch.tensor([[3.0, 2.5, 2.0, 1.0]])
    counts = torch.tensor([[1, 3, 0, 0]])
    prompt = torch.tensor([[True, True, True, True]])

    def likeliest(**penalties: float) -> int | None:
        sampling = Sampling(temperature=temperature, **penalties)  # type: ignore[arg-type]
        draws = [random.Random(0)]
        return choose_tokens(logits, [sampling], draws, prompt, NONE, counts)[0]

    assert likeliest() == 0
    assert likeliest(presence_penalty=0.6) == 0  # 2.4, 1.9, 2.0
    assert likeliest(presence_penalty=1.5) == 2  # 1.5, 1.0, 2.0
    assert likeliest(frequency_penalty=0.4) == 0  # 2.6, 1.3, 2.0
    assert likeliest(frequency_penalty=1.2) == 2  # 1.8, -1.1, 2.0
    assert likeliest(frequency_penalty=-0.5) == 1  # 3.5, 4.0


def test_penalties_of_the_output_need_its_counts() -> None:
    with pytest.raises(ValueError, match="counts"):
        choose(torch.tensor([1.0, 2.0]), Sampling(presence_penalty=1.5))


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
