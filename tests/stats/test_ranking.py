"""Only what is comparable is ranked, and the rest says why not."""

from __future__ import annotations

from typing import Any

import pytest

from p2r_bench.stats.ranking import ranked
from p2r_bench.store.schema import LEADERBOARD


def row(value: float | None, **changes: Any) -> dict[str, Any]:
    given = {
        **{"value": value, "task": "T", "metric": "accuracy", "source": "measured"},
        **{"complete": True, "mixed": False, "data_kind": "published"},
    }
    return {**dict.fromkeys(LEADERBOARD.names), **given, **changes}


def test_equal_values_share_a_rank_and_rows_without_one_stand_at_their_place() -> None:
    rows = [
        row(0.5),
        row(0.9, complete=False),
        row(0.7),
        row(0.95, source="reported", complete=None, data_kind=None),
        row(None),
        row(0.7),
    ]
    assert [(r["value"], r["rank"]) for r in ranked(rows)] == [
        (0.95, None),
        (0.9, None),
        (0.7, 1),
        (0.7, 1),
        (0.5, 3),
        (None, None),
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source": "reported"}, "reported"),
        ({"complete": False}, "incomplete"),
        ({"complete": None}, "incomplete"),
        ({"mixed": True}, "mixed sessions"),
        ({"data_kind": "synthetic"}, "synthetic data"),
        ({"data_kind": "partial"}, "partial data"),
        ({"data_kind": None}, "unknown data"),
        ({"value": None}, "nothing scored"),
        ({"value": None, "reason": "rotations do not pair"}, "rotations do not pair"),
        ({"complete": False, "mixed": True}, "incomplete, mixed sessions"),
    ],
)
def test_a_row_that_is_not_ranked_says_why(changes: dict[str, Any], reason: str) -> None:
    (first,) = ranked([{**row(0.9), **changes}])
    assert (first["rank"], first["unranked"]) == (None, reason)
    (second,) = ranked([row(0.9)])
    assert (second["rank"], second["unranked"]) == (1, None)


@pytest.mark.parametrize(
    "column",
    [
        *("task", "subset", "category", "metric", "per"),
        *("data_digest", "profile_hash", "scorer", "scorer_version", "scorer_params_hash"),
    ],
)
def test_figures_that_cannot_be_compared_have_ranks_of_their_own(column: str) -> None:
    assert [r["rank"] for r in ranked([row(0.5), row(0.7, **{column: "other"})])] == [1, 1]


@pytest.mark.parametrize("column", ["engine", "seed", "repeats", "mode", "mode_params", "profile"])
def test_runs_that_differ_in_what_may_differ_are_ranked_together(column: str) -> None:
    rows = ranked([row(0.5), row(0.7, **{column: "other"})])
    assert [r["rank"] for r in rows] == [1, 2]
