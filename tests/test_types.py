"""Digests are those of canonical JSON, however it is written down."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.types import (
    Message,
    Recipe,
    Request,
    Sampling,
    Stroke,
    Verdict,
    canonical_json,
    digest_of,
)

TEXT = st.text() | st.sampled_from(['"\\', "\ud800", " \x00\n", "é😀"])
RECTS = st.tuples(*[st.integers(-9, 9999)] * 4)
SIZES = st.tuples(st.integers(1, 9999), st.integers(1, 9999))
RECIPES = st.builds(
    Recipe,
    source=TEXT,
    exif=st.sampled_from(["apply", "ignore"]),
    alpha=st.sampled_from(["white", "drop"]),
    strokes=st.lists(st.builds(Stroke, RECTS, TEXT, st.integers(1, 9)), max_size=3).map(tuple),
    crop=st.none() | RECTS,
    resize=st.lists(SIZES, min_size=1, max_size=3).map(tuple),
    route=TEXT,
    transport=TEXT,
)
NUMBERS = st.sampled_from([0, 0.0, 1, 1.0, True, 0.7, 1e-9])
SAMPLINGS = st.builds(
    Sampling,
    temperature=NUMBERS,
    top_p=NUMBERS,
    top_k=st.integers(0, 50),
    min_p=NUMBERS,
    repetition_penalty=NUMBERS,
    presence_penalty=NUMBERS,
    frequency_penalty=NUMBERS,
    max_tokens=st.integers(1, 4096),
    seed=st.none() | st.integers(0, 2**31),
    stop=st.lists(TEXT, max_size=2).map(tuple),
)
REQUESTS = st.builds(
    Request,
    sample_id=TEXT,
    role=st.just("reason"),
    messages=st.lists(
        st.builds(
            Message,
            st.sampled_from(["system", "user"]),
            st.lists(TEXT | RECIPES, max_size=3).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    sampling=SAMPLINGS,
    schema=st.none() | st.just({"b": [1, None], "a": True}),
)


def plain_content(request: Request) -> dict[str, Any]:
    return {
        "messages": [
            [m.role, [p if isinstance(p, str) else {"image": p.digest} for p in m.content]]
            for m in request.messages
        ],
        "sampling": asdict(request.sampling),
        "schema": request.schema,
    }


@given(RECIPES)
def test_a_recipe_s_digest_is_that_of_its_fields(recipe: Recipe) -> None:
    fields = asdict(recipe)
    del fields["visual_tokens"]
    if not recipe.blank:
        del fields["blank"]
    assert recipe.digest == digest_of(fields)


@given(REQUESTS)
def test_a_request_s_content_is_canonical_json_of_what_is_sent(request: Request) -> None:
    assert request.content == canonical_json(plain_content(request))
    assert json.loads(request.content) == json.loads(json.dumps(plain_content(request)))


@given(REQUESTS, st.integers(0, 2**31), st.booleans())
def test_another_seed_is_another_request_and_nothing_else(
    request: Request, seed: int, read_before: bool
) -> None:
    before = request.content if read_before else None
    seeded = request.with_seed(seed)
    assert seeded.content == canonical_json(plain_content(seeded))
    assert seeded.sampling.seed == seed and seeded.recipes == request.recipes
    assert before in (None, request.content)


@pytest.mark.parametrize(("correct", "score"), [(True, 1.0), (False, 0.0)])
def test_a_verdict_that_only_says_right_or_wrong_has_a_score(correct: bool, score: float) -> None:
    assert Verdict("a", "mine", "1", "", correct=correct).score == score


def test_a_verdict_without_a_decision_has_no_score() -> None:
    assert Verdict("a", "mine", "1", "", status="error").score is None
    with pytest.raises(ValueError, match=r"'mine': .*score must be None"):
        Verdict("a", "mine", "1", "", status="error", score=0.0)


@pytest.mark.parametrize("score", [-0.1, 1.01, float("nan")])
def test_a_score_outside_0_to_1_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match=r"'mine': score is .*, not from 0 to 1"):
        Verdict("a", "mine", "1", "", correct=False, score=score)
