"""Metrics: counted samples, errors, and the bounds that errors leave."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.stats.metrics import metric_rows
from p2r_bench.store.schema import METRICS
from p2r_bench.types import Metric

STATES = ("right", "wrong", "none", "judge error", "error", "not_applicable")
QUESTIONS = Metric("accuracy_all_rotations", per="question")
OVERALL = {(None, None): 4}


def made(number: int, state: str, **changes: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A sample row and its verdict by "strict", as far as metrics need them."""
    sample = {
        "sample_id": str(number),
        "repeat": 0,
        "status": state if state in ("error", "not_applicable") else "ok",
        "answer_form": "choice",
        "cells": [{"subset": None, "category": None}],
        "group": None,
        "question_id": None,
        "parse_status": None,
        "stages": [{"finish_reason": "stop"}],
        "n_calls": 2,
        "prompt_tokens": 100 * number,
        "output_tokens": None,
        "visual_tokens": 10,
        "total_seconds": 0.5,
        "engine_seconds": 0.25,
        **changes,
    }
    if sample["status"] != "ok":
        return sample, []
    return sample, [verdict("strict", state)]


def verdict(scorer: str, state: str, version: str = "1") -> dict[str, Any]:
    return {
        "scorer": scorer,
        "version": version,
        "params_hash": "p",
        "status": "error" if state == "judge error" else "ok",
        "correct": {"right": True, "judge error": None}.get(state, False),
        "extracted": "A" if state in ("right", "wrong") else None,
    }


def figure(outcomes: Any, **options: Any) -> dict[str, Any]:
    """The headline figure of the first cell."""
    return metric_rows(outcomes, **{"scorer": "strict", **options})[0]


def of(*states: str, **options: Any) -> dict[str, Any]:
    return figure([made(n, state) for n, state in enumerate(states)], **options)


def test_no_answer_is_scored_and_wrong() -> None:
    row = of("right", "none", "right", "wrong", expected=OVERALL)
    assert (row["value"], row["n"], row["n_no_answer"], row["complete"]) == (0.5, 4, 1, True)
    assert row["value_low"] == row["value_high"] == 0.5


def test_no_answer_for_want_of_tokens_is_told_apart() -> None:
    cut = {"stages": [{"finish_reason": "length"}]}
    row = figure([made(0, "none", **cut), made(1, "right", **cut), made(2, "none")])
    assert (row["n_no_answer"], row["n_cut_off"], row["value"]) == (2, 1, pytest.approx(1 / 3))


def test_boxes_that_could_not_be_read_are_counted_apart_from_empty_lists() -> None:
    states = ("boxes", "empty", "invalid", "unparsed", None)
    outcomes = [made(n, "right", parse_status=status) for n, status in enumerate(states)]
    failed = made(5, "error", parse_status="unparsed")
    row = figure([*outcomes, failed])
    assert (row["n"], row["n_unparsed_boxes"], row["n_no_box"]) == (5, 2, 1)


def test_a_question_is_counted_once_however_many_of_its_rows_were_cut_off() -> None:
    cut = {"stages": [{"finish_reason": "length"}], "parse_status": "empty", "question_id": "q"}
    outcomes = [made(n, "none", **cut) for n in range(4)]
    row = figure(outcomes, metrics=(QUESTIONS,), expected={(None, None): 4})
    assert (row["n"], row["n_no_answer"], row["n_cut_off"], row["n_no_box"]) == (1, 1, 1, 1)


@pytest.mark.parametrize("error", ["error", "judge error"])
def test_an_error_is_not_scored_but_bounds_the_value(error: str) -> None:
    row = of("right", "wrong", error, "right", expected=OVERALL)
    assert (row["value"], row["n"], row["n_errors"]) == (pytest.approx(2 / 3), 3, 1)
    assert (row["value_low"], row["value_high"]) == (0.5, 0.75)
    assert not row["complete"]


def test_missing_samples_bound_the_value_like_errors() -> None:
    row = of("right", "wrong", expected=OVERALL)
    assert (row["value"], row["n_missing"], row["complete"]) == (0.5, 2, False)
    assert (row["value_low"], row["value_high"]) == (0.25, 0.75)


def test_not_applicable_is_neither_wrong_nor_an_obstacle() -> None:
    row = of("right", "not_applicable", "right", "not_applicable", expected=OVERALL)
    assert (row["value"], row["n"], row["n_not_applicable"], row["complete"]) == (1.0, 2, 2, True)


def test_nothing_scored_is_no_value_and_not_zero() -> None:
    row = of("error", "error", expected={(None, None): 2})
    assert row["value"] is None and row["ci_low"] is None and row["ci_method"] is None
    assert (row["value_low"], row["value_high"], row["n"]) == (0.0, 1.0, 0)


def test_a_run_of_unknown_size_is_never_complete() -> None:
    row = of("right", "right")
    assert row["n_missing"] is None and not row["complete"]


def test_a_category_nobody_reached_is_listed_as_missing() -> None:
    rows = metric_rows(
        [made(0, "right")], scorer="strict", expected={(None, None): 3, (None, "cross"): 2}
    )
    assert [(r["category"], r["value"], r["n_missing"]) for r in rows] == [
        (None, 1.0, 2),
        ("cross", None, 2),
    ]


def test_repeats_are_clustered_by_sample() -> None:
    outcomes = [
        made(n, state, repeat=repeat)
        for n, state in enumerate(("right", "wrong", "right", "right"))
        for repeat in range(3)
    ]
    row = figure(outcomes, expected=OVERALL, repeats=3)
    assert (row["n"], row["n_clusters"], row["complete"]) == (12, 4, True)
    assert row["ci_method"] == "wilson-jackknife"
    assert figure(outcomes, expected=OVERALL, repeats=4)["n_missing"] == 4


def test_rows_of_one_image_are_one_cluster() -> None:
    rows = [made(n, ("right", "wrong")[n % 3 > 0], group=f"image {n // 2}") for n in range(8)]
    assert figure(rows)["n_clusters"] == 4
    assert figure(rows)["ci_method"] == "wilson-jackknife"
    alone = figure([made(n, "right", group=f"image {n}") for n in range(8)])
    assert alone["ci_method"] == "wilson"


def rotations(*questions: tuple[str, ...]) -> list[Any]:
    return [
        made(4 * q + r, state, question_id=f"q{q}", group=f"image {q}")
        for q, states in enumerate(questions)
        for r, state in enumerate(states)
    ]


def question_figure(*questions: tuple[str, ...], expected: int | None = None) -> dict[str, Any]:
    counts = None if expected is None else {(None, None): expected}
    return figure(rotations(*questions), metrics=(QUESTIONS,), expected=counts)


def test_a_question_is_right_when_all_its_rotations_are() -> None:
    row = question_figure(("right",) * 4, ("right", "right", "none", "right"), expected=8)
    assert (row["value"], row["n"], row["n_no_answer"], row["per"]) == (0.5, 2, 1, "question")
    assert row["complete"] and row["ci_method"] == "wilson"


def test_a_question_with_an_error_can_only_be_right_if_no_rotation_is_wrong() -> None:
    row = question_figure(
        ("right",) * 4,
        ("right", "right", "right", "error"),
        ("right", "wrong", "right", "judge error"),
        expected=12,
    )
    assert (row["value"], row["n"], row["n_errors"]) == (1.0, 1, 2)
    assert (row["value_low"], row["value_high"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_a_question_with_a_missing_rotation_is_not_called_right() -> None:
    row = question_figure(("right",) * 4, ("right",) * 2, expected=8)
    assert (row["n"], row["value"], row["complete"]) == (1, 1.0, False)
    assert row["value_low"] is None and row["value_high"] is None


def test_every_scorer_has_rows_and_one_is_the_headline() -> None:
    outcomes = [
        (sample, [*verdicts, verdict("original", "right")])
        for sample, verdicts in (made(n, "wrong") for n in range(4))
    ]
    rows = metric_rows(outcomes, scorer="strict", expected=OVERALL)
    assert [(r["scorer"], r["headline"], r["value"]) for r in rows] == [
        ("strict", True, 0.0),
        ("original", False, 1.0),
    ]


def test_the_headline_can_differ_by_answer_form() -> None:
    number, _ = made(1, "right", answer_form="number")
    outcomes = [made(0, "wrong"), (number, [verdict("numeric", "right", version="2")])]
    chosen = {"choice": "strict", "number": "numeric"}
    rows = metric_rows(outcomes, scorer=chosen, expected={(None, None): 2})
    assert [(r["scorer"], r["headline"], r["value"], r["n"], r["complete"]) for r in rows] == [
        ("strict+numeric", True, 0.5, 2, True),
        ("numeric", False, 1.0, 1, True),
        ("strict", False, 0.0, 1, True),
    ]
    assert rows[0]["scorer_version"] == "2,1"


def test_a_headline_scorer_that_did_not_judge_everything_is_incomplete() -> None:
    number, _ = made(1, "right", answer_form="number")
    outcomes = [made(0, "right"), (number, [verdict("numeric", "right")])]
    row = figure(outcomes, expected={(None, None): 2})
    assert (row["value"], row["n"], row["complete"]) == (1.0, 1, False)


def test_verdicts_by_two_versions_of_a_scorer_do_not_add_up() -> None:
    sample, _ = made(1, "right")
    row = figure(
        [made(0, "right"), (sample, [verdict("strict", "right", "2")])], expected={(None, None): 2}
    )
    assert row["scorer_version"] == "1,2" and not row["complete"]


def test_costs_are_means_over_answered_samples_where_known() -> None:
    row = of("right", "wrong", "error")
    assert (row["calls_per_sample"], row["prompt_tokens_per_sample"]) == (2.0, 50.0)
    assert row["output_tokens_per_sample"] is None and row["seconds_per_sample"] == 0.5


def test_cells_come_overall_first_then_as_met() -> None:
    cells = [("8K", "single"), ("8K", None), (None, None), ("4K", None)]
    outcomes = [
        made(0, "right", cells=[{"subset": s, "category": c} for s, c in cells]),
    ]
    rows = metric_rows(outcomes, scorer="strict")
    assert [(r["subset"], r["category"]) for r in rows] == [
        (None, None),
        ("8K", None),
        ("4K", None),
        ("8K", "single"),
    ]


def test_rows_have_the_documented_columns() -> None:
    facts = dict.fromkeys(METRICS.names)
    assert set(of("right", facts=facts)) == set(METRICS.names)


@given(st.lists(st.sampled_from(STATES), max_size=30), st.sampled_from([Metric(), QUESTIONS]))
def test_every_sample_is_counted_once_and_bounds_hold_the_value(
    states: list[str], metric: Metric
) -> None:
    row = of(*states, metrics=(metric,), expected={(None, None): len(states)})
    assert row["n"] + row["n_errors"] + row["n_not_applicable"] == len(states)
    assert row["complete"] == (row["n_errors"] == 0)
    if row["value"] is not None:
        assert 0 <= row["value_low"] <= row["value"] <= row["value_high"] <= 1
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
