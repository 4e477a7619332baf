"""A replica's account covers all its processes."""

from __future__ import annotations

from typing import Any

from p2r_bench.run.ray_accounts import Accounts
from p2r_bench.run.ray_messages import Place


def account(busy: float, sent: int, peak: float) -> dict[str, Any]:
    engine = {"capacity": 8, "busy_s": busy, "request_s": 2 * busy}
    return {"engines": [engine], "images": {"sent": sent}, "peak_mb": peak}


def test_the_last_word_of_every_process_is_summed_and_capacity_is_not() -> None:
    accounts = Accounts()
    accounts.note("10", Place("b", 7, {}), account(9.0, 9, 9.0))
    accounts.note("2", Place("a", 1, {}), account(1.0, 3, 50.0))
    accounts.note("2", Place("a", 1, {}), account(2.0, 5, 60.0))
    accounts.note("2", Place("b", 2, {}), account(4.0, 1, 40.0))
    told = accounts.by_replica()
    assert list(told) == ["2", "10"]
    assert told["2"] == {
        "engines": [{"capacity": 8, "busy_s": 6.0, "request_s": 12.0}],
        "images": {"sent": 6},
        "peak_mb": 60.0,
        "processes": ["a, process 1", "b, process 2"],
    }


def test_nothing_is_told_before_anything_was_used() -> None:
    assert Accounts().by_replica() == {}
