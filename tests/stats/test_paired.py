"""Paired comparison of two runs, against brute force, scipy, statsmodels and simulated runs."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower

from benchmarks import coverage
from p2r_bench.stats.paired import (
    detectable,
    difference_interval,
    holm,
    mcnemar,
    paired_difference,
    power_of,
    sign_flip,
)

ROWS = [f"row-{n}" for n in range(80)]
IMAGES = {row: f"image-{n // 4}" for n, row in enumerate(ROWS)}
outcomes = st.lists(st.booleans(), min_size=len(ROWS), max_size=len(ROWS)).map(
    lambda right: dict(zip(ROWS, right, strict=True))
)


@given(outcomes)
def test_a_run_does_not_differ_from_itself(run: dict[str, bool]) -> None:
    found = paired_difference(run, run, IMAGES)
    assert (found.value, found.p, found.p_mcnemar) == (0.0, 1.0, 1.0)
    assert -0.2 < found.low < 0 < found.high < 0.2, "no difference in 20 images still has a width"


@given(outcomes, outcomes)
def test_exchanging_the_runs_turns_the_sign(a: dict[str, bool], b: dict[str, bool]) -> None:
    there, back = paired_difference(a, b, IMAGES), paired_difference(b, a, IMAGES)
    assert there.value == pytest.approx(-back.value)
    assert (there.gained, there.lost) == (back.lost, back.gained)
    assert (there.p, there.p_mcnemar) == pytest.approx((back.p, back.p_mcnemar))
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.low <= there.value <= there.high


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_the_sign_flip_test_counts_all_exchanges(gains: list[int]) -> None:
    changed = [gain for gain in gains if gain]
    totals = [
        abs(sum(s * g for s, g in zip(signs, changed, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(changed))
    ]
    observed = abs(sum(gains))
    counted = sum((total > observed) + (total == observed) / 2 for total in totals) / len(totals)
    expected = counted if observed else 1.0
    assert sign_flip(np.array(gains, dtype=float)) == pytest.approx(expected, abs=1e-9)


def test_graded_gains_are_exchanged_at_random() -> None:
    gains = np.array([4, -1, 3, 2, -2, 5, 1, 1, -3, 4], dtype=float)
    assert sign_flip(gains * 0.3) == pytest.approx(sign_flip(gains), abs=0.01)


def test_ten_gained_images_are_no_accident_and_one_is() -> None:
    none = dict.fromkeys(ROWS, False)
    ten = {row: n < 40 for n, row in enumerate(ROWS)}
    one = {row: n < 4 for n, row in enumerate(ROWS)}
    # Exchanging ten clusters leaves all of them on one side in 2 of 1,024 cases; half of these count.
    assert paired_difference(none, ten, IMAGES).p == pytest.approx(1 / 1024)
    assert paired_difference(none, one, IMAGES).p == pytest.approx(0.5)


def test_rows_of_one_image_count_as_one_trial() -> None:
    rng = random.Random(0)
    before = {row: rng.random() < 0.5 for row in ROWS}
    after = {row: n % 8 < 4 or before[row] for n, row in enumerate(ROWS)}
    together = paired_difference(before, after, IMAGES)
    alone = paired_difference(before, after, {row: row for row in ROWS})
    assert together.value == alone.value
    assert together.p > alone.p
    assert together.high - together.low > alone.high - alone.low
    assert together.detectable > alone.detectable


def test_only_rows_that_both_runs_have_are_compared() -> None:
    found = paired_difference({"a": True, "b": False}, {"b": True, "c": True}, {"b": "image"})
    assert (found.rows, found.before, found.after) == (1, 0.0, 1.0)
    with pytest.raises(ValueError, match="no row in common"):
        paired_difference({"a": True}, {"b": True}, {})


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_agrees_with_scipy_and_statsmodels(gained: int, lost: int) -> None:
    table = [[7, gained], [lost, 5]]
    assert mcnemar(gained, lost) == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)
    if gained + lost:
        assert mcnemar(gained, lost) == pytest.approx(binomtest(gained, gained + lost, 0.5).pvalue)


@pytest.mark.parametrize("seed", range(10))
def test_holm_agrees_with_statsmodels(seed: int) -> None:
    values = list(np.random.default_rng(seed).random(1 + seed) ** 3)
    assert holm(values) == pytest.approx(list(multipletests(values, method="holm")[1]))


def test_detectable_differences_are_the_published_ones() -> None:
    """V*, HR-Bench as 200 clusters and MME-RealWorld-Lite by image, at 10 % and 20 % discordance."""
    for clusters, few, many in ((191, 6.4, 9.1), (200, 6.3, 8.9), (1537, 2.3, 3.2)):
        for discordance, points in ((0.1, few), (0.2, many)):
            error = (discordance / clusters) ** 0.5
            assert 100 * detectable(error) == pytest.approx(points, abs=0.05)


@given(st.floats(0.01, 0.3), st.integers(20, 2000))
def test_power_agrees_with_statsmodels(effect: float, n: int) -> None:
    error = (0.1 / n) ** 0.5
    expected = NormalIndPower().power(effect / 0.1**0.5, n, 0.05, ratio=0)
    assert power_of(effect, error) == pytest.approx(expected, abs=1e-9)
    assert power_of(detectable(error), error) == pytest.approx(0.8, abs=1e-4)


def test_the_interval_is_the_t_interval_where_the_added_cluster_does_not_count() -> None:
    rng = np.random.default_rng(4)
    gains = rng.integers(-1, 2, 40_000).astype(float)
    low, high = difference_interval(gains, np.ones(40_000))
    half = 1.96 * gains.std(ddof=1) / 200
    assert (low, high) == pytest.approx((gains.mean() - half, gains.mean() + half), abs=1e-5)


@pytest.mark.parametrize("shape", coverage.SHAPES)
def test_simulated_intervals_hold_the_truth_as_often_as_they_say(shape: str) -> None:
    """Two or three points of room for 400 draws; `python -m benchmarks.coverage` draws 10,000."""
    for measure in (coverage.interval_coverage, coverage.difference_coverage):
        found = list(measure(shape, 400).values())
        assert min(found) >= 0.91 and max(found) <= 0.99
        assert 0.935 <= np.mean(found) <= 0.97


@pytest.mark.parametrize("shape", coverage.SHAPES)
def test_the_sign_flip_test_rejects_one_in_twenty_equal_pairs(shape: str) -> None:
    found = list(coverage.false_positives(shape, 1000).values())
    assert 0.035 <= np.mean(found) <= 0.065
