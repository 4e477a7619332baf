"""Intervals agree with published values and with statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t
from statsmodels.stats.proportion import proportion_confint

from p2r_bench.stats.intervals import cluster_wilson, interval, wilson


def test_wilson_agrees_with_published_values() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    for right, n, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
    ):
        assert wilson(right, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_on_vstar_is_about_three_and_a_half_points_wide() -> None:
    low, high = wilson(178, 191)
    assert (high - low) / 2 == pytest.approx(0.036, abs=0.001)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_is_symmetric(counts: tuple[int, int]) -> None:
    right, n = counts
    low, high = wilson(right, n)
    assert 0 <= low <= right / n <= high <= 1 and low < high
    assert wilson(n - right, n) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("right", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_what_is_no_share_has_no_interval(right: int, n: int) -> None:
    with pytest.raises(ValueError, match="not a share"):
        wilson(right, n)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_statsmodels(counts: tuple[int, int]) -> None:
    assert wilson(*counts) == pytest.approx(proportion_confint(*counts, method="wilson"), abs=1e-9)


def test_the_effective_size_is_that_of_the_jackknife() -> None:
    """Wilson's interval by statsmodels, at the size that has the variance of the shares with a cluster left out."""
    rng = np.random.default_rng(0)
    n = rng.integers(1, 6, size=60)
    right = rng.binomial(n, rng.choice([0.1, 0.9], size=60))
    left_out = [(right.sum() - k) / (n.sum() - m) for k, m in zip(right, n, strict=True)]
    share = right.sum() / n.sum()
    variance = 59 / 60 * sum((one - share) ** 2 for one in left_out)
    size = share * (1 - share) / variance
    # statsmodels takes the normal quantile: the level that has Student's for 59 degrees of freedom.
    alpha = 2 * norm.sf(t.ppf(0.975, 59))
    expected = proportion_confint(share * size, size, alpha=alpha, method="wilson")
    assert cluster_wilson(right, n) == pytest.approx(expected, abs=1e-9)


def test_rows_that_contradict_each_other_count_at_most_twice() -> None:
    right = [2] * 50 + [1, 3]
    low, high = cluster_wilson(right, [4] * 52)
    assert high - low > (wilson(208, 416)[1] - wilson(208, 416)[0]) * 0.95


def test_dependent_rows_widen_the_interval() -> None:
    """Four rotations that are right together tell as much as one row."""
    right = [4] * 100 + [0] * 100
    low, high, method = interval(right, [4] * 200)
    naive_low, naive_high = wilson(400, 800)
    assert method == "wilson-jackknife"
    assert (high - low) / (naive_high - naive_low) == pytest.approx(2, rel=0.1)


@given(st.permutations([(0, 1), (1, 2), (3, 4), (4, 4), (2, 2), (0, 3)]))
def test_the_order_of_clusters_does_not_matter(clusters: list[tuple[int, int]]) -> None:
    right, n = zip(*clusters, strict=True)
    assert interval(right, n) == interval([0, 1, 3, 4, 2, 0], [1, 2, 4, 4, 2, 3])


def test_the_method_follows_the_data() -> None:
    assert interval([1, 0, 1], [1, 1, 1]) == (*wilson(2, 3), "wilson")
    assert interval([2, 2, 2], [2, 2, 2]) == (*wilson(3, 3), "wilson-clusters")
    assert interval([0, 0], [4, 4]) == (*wilson(0, 2), "wilson-clusters")
    low, high, method = interval([2], [4])
    assert (method, low < 0.1, high > 0.9) == ("wilson-clusters", True, True)
    assert interval([1, 3], [2, 4])[2] == "wilson-jackknife"


def test_a_model_that_always_gives_the_same_letter_has_an_interval_with_a_width() -> None:
    """One of four rotations is right, whatever the image: no image left out changes the share."""
    assert interval([1] * 100, [4] * 100) == (*wilson(25, 100), "wilson-clusters")


@given(
    st.lists(
        st.integers(1, 5).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1
    )
)
def test_every_interval_lies_in_0_to_1(clusters: list[tuple[int, int]]) -> None:
    right, n = zip(*clusters, strict=True)
    low, high, _ = interval(right, n)
    assert 0 <= low <= high <= 1


@pytest.mark.parametrize(("right", "n"), [([], []), ([0, 1], [0, 1])])
def test_clusters_without_items_are_refused(right: list[int], n: list[int]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        interval(right, n)
    with pytest.raises(ValueError, match="at least one"):
        cluster_wilson(right, n)
