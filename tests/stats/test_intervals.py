"""Intervals agree with published values, with brute force, and with what a share can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.stats.intervals import cluster_bootstrap, interval, wilson


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


def test_the_bootstrap_agrees_with_drawing_clusters_one_by_one() -> None:
    rng = np.random.default_rng(0)
    n = rng.integers(1, 6, size=120)
    right = rng.binomial(n, rng.choice([0.1, 0.9], size=120))
    drawn = rng.integers(0, 120, size=(20_000, 120))
    shares = right[drawn].sum(axis=1) / n[drawn].sum(axis=1)
    expected = np.quantile(shares, [0.025, 0.975])
    assert cluster_bootstrap(right, n) == pytest.approx(tuple(expected), abs=0.006)


def test_dependent_rows_widen_the_interval() -> None:
    """Four rotations that are right together tell as much as one row, and half as wide would be a lie."""
    right = [4] * 100 + [0] * 100
    low, high, method = interval(right, [4] * 200)
    naive_low, naive_high = wilson(400, 800)
    assert method == "cluster-bootstrap"
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
    assert interval([1, 3], [2, 4])[2] == "cluster-bootstrap"


def test_a_model_that_always_gives_the_same_letter_has_an_interval_with_a_width() -> None:
    """One of four rotations is right, whatever the image: no resample of images differs."""
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
        cluster_bootstrap(right, n)
