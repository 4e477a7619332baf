"""Scorers that grade: their metric is the mean of the scores, beside an accuracy that stays what it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.stats.intervals import interval, wilson
from p2r_bench.stats.metrics import metric_rows
from p2r_bench.types import Verdict
from tests.stats.test_metrics import made, verdict

OVERALL = {(None, None): 4}


def graded(number: int, score: float | None, **changes: Any) -> Any:
    """A sample judged by "anls" with this score; None is an error of the judge."""
    sample, _ = made(number, "right", answer_form="free", **changes)
    state = "judge error" if score is None else "right" if score >= 0.5 else "wrong"
    return sample, [{**verdict("anls", state), "score": score, "metric": "anls"}]


def rows_of(*scores: float | None, **options: Any) -> dict[str, dict[str, Any]]:
    outcomes = [graded(number, score) for number, score in enumerate(scores)]
    rows = metric_rows(outcomes, scorer={"free": "anls"}, **options)
    return {row["metric"]: row for row in rows}


def test_the_metric_is_the_mean_score_and_accuracy_the_share_of_right() -> None:
    rows = rows_of(0.9, 0.6, 0.0, 0.5, expected=OVERALL)
    assert list(rows) == ["accuracy", "anls"]
    assert (rows["accuracy"]["value"], rows["anls"]["value"]) == (0.75, pytest.approx(0.5))
    assert rows["anls"]["headline"] and rows["anls"]["complete"]
    assert rows["anls"]["scorer"] == "anls"


def test_an_error_bounds_the_mean() -> None:
    row = rows_of(0.9, 0.5, None, expected=OVERALL)["anls"]
    assert (row["value"], row["n"], row["n_errors"]) == (pytest.approx(0.7), 2, 1)
    assert row["value_low"] == pytest.approx(1.4 / 4)
    assert row["value_high"] == pytest.approx(3.4 / 4)
    assert not row["complete"]


def test_a_scorer_that_does_not_grade_has_no_such_row() -> None:
    rows = metric_rows([made(0, "right")], scorer="strict")
    assert [row["metric"] for row in rows] == ["accuracy"]


def test_in_a_mixed_task_only_graded_forms_count() -> None:
    outcomes = [made(0, "right"), graded(1, 0.25)]
    rows = metric_rows(outcomes, scorer={"choice": "strict", "free": "anls"})
    keys = [(row["scorer"], row["metric"]) for row in rows]
    assert len(set(keys)) == len(keys)
    (row,) = (row for row in rows if row["metric"] == "anls")
    assert (row["scorer"], row["value"], row["n"], row["headline"]) == ("anls", 0.25, 1, True)
    assert next(r["value"] for r in rows if r["scorer"] == "strict+anls") == 0.5


def test_files_without_scores_count_right_as_one() -> None:
    sample, (old,) = graded(0, 1.0)
    del old["score"]
    (row,) = (
        r for r in metric_rows([(sample, [old])], scorer={"free": "anls"}) if r["metric"] == "anls"
    )
    assert row["value"] == 1.0


def test_a_mean_may_not_be_called_accuracy() -> None:
    with pytest.raises(ValueError, match="accuracy is no name for a mean"):
        Verdict("a", "anls", "1", "", correct=True, score=0.7, metric="accuracy")


def test_scores_of_single_samples_have_the_interval_of_resampling_them() -> None:
    rng = np.random.default_rng(1)
    scores = rng.beta(2, 2, size=400)
    low, high, method = interval(scores, np.ones(400))
    drawn = scores[rng.integers(0, 400, size=(5000, 400))].mean(axis=1)
    assert method == "wilson-jackknife"
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.003)


def test_equal_scores_have_the_width_of_as_many_trials() -> None:
    assert interval([0.7] * 20, [1] * 20) == (*wilson(14, 20), "wilson-clusters")
    low, high, method = interval([1.4], [2])
    assert method == "wilson-clusters" and low < 0.7 < high


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_an_interval_of_scores_lies_within_0_and_1(scores: list[float]) -> None:
    low, high, _ = interval(scores, [1] * len(scores))
    assert 0 <= low <= high <= 1
