"""Paired comparison of two runs."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.stats.paired import paired_difference

ROWS = [f"row-{n}" for n in range(80)]
IMAGES = {row: f"image-{n // 4}" for n, row in enumerate(ROWS)}
outcomes = st.lists(st.booleans(), min_size=len(ROWS), max_size=len(ROWS)).map(
    lambda right: dict(zip(ROWS, right, strict=True))
)


@given(outcomes)
def test_a_run_does_not_differ_from_itself(run: dict[str, bool]) -> None:
    found = paired_difference(run, run, IMAGES)
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


@given(outcomes, outcomes)
def test_exchanging_the_runs_turns_the_sign(a: dict[str, bool], b: dict[str, bool]) -> None:
    there, back = paired_difference(a, b, IMAGES), paired_difference(b, a, IMAGES)
    assert there.value == pytest.approx(-back.value)
    assert (there.gained, there.lost, there.p) == (back.lost, back.gained, back.p)
    assert there.low <= there.value + 1e-12 and there.value <= there.high + 1e-12


def test_ten_gained_images_are_no_accident_and_one_is() -> None:
    none = dict.fromkeys(ROWS, False)
    ten = {row: n < 40 for n, row in enumerate(ROWS)}
    one = {row: n < 4 for n, row in enumerate(ROWS)}
    # Exchanging ten clusters at random leaves all of them on one side in 2 of 1,024 cases.
    assert paired_difference(none, ten, IMAGES).p == pytest.approx(2 / 1024, rel=0.3)
    assert paired_difference(none, one, IMAGES).p == 1.0


def test_rows_of_one_image_count_as_one_trial() -> None:
    rng = random.Random(0)
    before = {row: rng.random() < 0.5 for row in ROWS}
    after = {row: n % 8 < 4 or before[row] for n, row in enumerate(ROWS)}
    together = paired_difference(before, after, IMAGES)
    alone = paired_difference(before, after, {row: row for row in ROWS})
    assert together.value == alone.value
    assert together.p > alone.p


def test_only_rows_that_both_runs_have_are_compared() -> None:
    found = paired_difference({"a": True, "b": False}, {"b": True, "c": True}, {"b": "image"})
    assert (found.rows, found.before, found.after) == (1, 0.0, 1.0)
    with pytest.raises(ValueError, match="no row in common"):
        paired_difference({"a": True}, {"b": True}, {})
