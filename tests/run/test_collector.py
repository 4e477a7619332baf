"""The garbage collector is as it was when a run is over."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from p2r_bench.run.collector import ALLOCATIONS, seldom_collecting


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_collections_are_rare_for_the_length_of_the_block() -> None:
    gc.set_threshold(700, 10, 10)
    with seldom_collecting():
        assert gc.get_threshold() == (ALLOCATIONS, 10, 10)
        assert gc.get_freeze_count() > 0
    assert gc.get_threshold() == (700, 10, 10)
    assert gc.get_freeze_count() == 0


def test_an_error_does_not_leave_it_changed() -> None:
    gc.set_threshold(700, 10, 10)
    with pytest.raises(ValueError), seldom_collecting():
        raise ValueError
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("first", [0, 5 * ALLOCATIONS])
def test_who_wants_fewer_collections_gets_them(first: int) -> None:
    gc.set_threshold(first, 10, 10)
    with seldom_collecting():
        assert gc.get_threshold()[0] == first
