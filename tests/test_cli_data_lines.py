"""The summary of a run says what its figures have to be read against."""

from __future__ import annotations

from typing import Any

from p2r_bench.cli.data_lines import data_lines


def row(**changes: Any) -> dict[str, Any]:
    return {
        "headline": True,
        "metric": "accuracy",
        "subset": None,
        "category": None,
        "chance": 0.3599,
        "n_chance": 191,
        "n": 190,
        "n_errors": 1,
        "n_not_applicable": 0,
        "n_missing": 0,
        "n_skipped_rows": 0,
        "repeats": 1,
        "reason": None,
        "data_kind": "published",
        "data_note": None,
        **changes,
    }


def test_the_chance_level_is_shown() -> None:
    assert data_lines([row(), row(category="single")]) == ["chance level: 36.0 %"]
    assert data_lines([row(subset="4K")]) == ["chance level of 4K: 36.0 %"]
    assert data_lines([row(chance=None)]) == []


def test_mixed_answer_forms_are_said() -> None:
    assert data_lines([row(n=300)]) == ["chance level: 36.0 %, over its 191 choice questions alone"]
    assert data_lines([row(n=380, n_errors=2, repeats=2)]) == ["chance level: 36.0 %"]


def test_other_than_published_data_is_said() -> None:
    rows = [row(chance=None, data_kind="partial", data_note="12 rows, published are 191")]
    assert data_lines(rows) == [
        "part of the published data (12 rows, published are 191): not comparable with published figures"
    ]
    assert data_lines([row(chance=None, data_kind="synthetic")]) == [
        "synthetic data: not comparable with published figures"
    ]


def test_skipped_rows_and_figures_without_a_value_are_said_once() -> None:
    rows = [
        row(chance=None, n_skipped_rows=2, reason="no pairs", metric="all", category=c)
        for c in "ab"
    ]
    assert data_lines(rows) == [
        "2 bad rows were skipped: the run is not complete",
        "all cannot be computed: no pairs",
    ]
