"""Rows hold all of a sample, a prediction and a verdict."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.store.recipes import recipe_from_json, recipe_to_json
from p2r_bench.store.rows import (
    prediction_from_row,
    sample_from_row,
    sample_row,
    verdict_row,
)
from p2r_bench.store.schema import SAMPLES, VERDICTS
from p2r_bench.store.tables import read_rows, write_table
from p2r_bench.types import (
    Completion,
    ErrorInfo,
    Evidence,
    ImageRef,
    Prediction,
    Recipe,
    Sample,
    Stroke,
)
from tests.store.building import CELLS, make_prediction, make_sample, make_verdict

SIZES = st.tuples(st.integers(1, 9999), st.integers(1, 9999))
RECTS = st.tuples(*[st.integers(0, 9999)] * 4)
RECIPES = st.builds(
    Recipe,
    source=st.text("0123456789abcdef", min_size=64, max_size=64),
    exif=st.sampled_from(["apply", "ignore"]),
    alpha=st.sampled_from(["white", "drop"]),
    strokes=st.lists(st.builds(Stroke, RECTS, st.text(), st.integers(1, 9))).map(tuple),
    crop=st.none() | RECTS,
    resize=st.lists(SIZES, min_size=1, max_size=3).map(tuple),
    route=st.sampled_from(["exact", "fast"]),
    transport=st.sampled_from(["lossless", "jpeg:75"]),
)

MINIMAL = Sample("a", "T", ImageRef(data=b"", digest="d", size=(1, 1)), "?", "4", group="d")

PREDICTIONS = {
    "p2r": (make_sample(), make_prediction(make_sample())),
    "bare": (MINIMAL, Prediction("a", completions=(Completion("42"),), answer="42")),
    "no answer": (MINIMAL, Prediction("a")),
    "empty evidence": (MINIMAL, Prediction("a", evidence=Evidence(parse_status="empty"))),
    "not applicable": (MINIMAL, Prediction("a", status="not_applicable")),
    "error": (
        make_sample(),
        make_prediction(
            make_sample(), None, "error", error=ErrorInfo("timeout", "after 60 s", "reason")
        ),
    ),
}


def through_parquet(tmp_path: Path, table: Any, row: dict[str, Any]) -> dict[str, Any]:
    write_table(tmp_path / "rows.parquet", table, [row])
    (found,) = read_rows(tmp_path / "rows.parquet", table)
    return found


@pytest.mark.parametrize("name", PREDICTIONS)
@pytest.mark.parametrize("route", ["journal", "parquet"])
def test_a_row_holds_the_whole_sample_and_prediction(name: str, route: str, tmp_path: Path) -> None:
    sample, prediction = PREDICTIONS[name]
    row = sample_row(sample, prediction, index=7, cells=CELLS)
    assert set(row) == set(SAMPLES.names)
    if route == "journal":
        row = json.loads(json.dumps(row))
    else:
        row = through_parquet(tmp_path, SAMPLES, row)
    found = sample_from_row(row)
    assert list(found.options.items()) == list(sample.options.items())
    if sample.image.data is not None:
        assert found.image.data is None
        assert found.image.digest == sample.image.digest
    else:
        assert found == sample
    assert prediction_from_row(row) == prediction
    assert [(cell["subset"], cell["category"]) for cell in row["cells"]] == list(CELLS)


@pytest.mark.parametrize(
    "verdict",
    [
        make_verdict(MINIMAL),
        make_verdict(MINIMAL, False, extracted=None, span=None),
        make_verdict(
            MINIMAL, None, extracted=None, span=None, status="error", error=ErrorInfo("http", "503")
        ),
        make_verdict(MINIMAL, False, score=0.25, metric="anls", fallback="verifier"),
    ],
    ids=["right", "no answer", "error", "graded"],
)
def test_a_row_holds_the_whole_verdict(verdict: Any, tmp_path: Path) -> None:
    row = verdict_row(replace(verdict, seconds=0.5), index=3, repeat=1)
    assert row["seconds"] == 0.5
    assert set(row) == set(VERDICTS.names)
    found = through_parquet(tmp_path, VERDICTS, row)
    assert found == row
    span = None if found["span_start"] is None else (found["span_start"], found["span_end"])
    error = ErrorInfo("http", "503") if found["error_type"] else None
    assert (span, error) == (verdict.span, verdict.error)
    same = ("scorer", "version", "extracted", "correct", "status", "score", "metric", "fallback")
    assert {name: found[name] for name in same} == {name: getattr(verdict, name) for name in same}


@given(RECIPES)
def test_recipes_come_back_with_the_same_digest(recipe: Recipe) -> None:
    again = recipe_from_json(recipe_to_json(recipe))
    assert again == recipe and again.digest == recipe.digest


def test_the_stored_request_hashes_to_its_digest() -> None:
    row = sample_row(make_sample(), make_prediction(make_sample()), index=0, cells=())
    for stage in row["stages"]:
        assert hashlib.sha256(stage["request"].encode()).hexdigest() == stage["request_digest"]


def test_images_sent_are_listed_with_size_tokens_and_crop() -> None:
    row = sample_row(make_sample(), make_prediction(make_sample()), index=0, cells=())
    whole, crop = row["stages"][1]["images"]
    assert (whole["width"], whole["height"], whole["crop"]) == (1280, 704, None)
    assert whole["visual_tokens"] == 880
    assert crop["crop"] == [5, 10, 320, 420]
    assert {r["digest"] for r in row["recipes"]} == {whole["digest"], crop["digest"]}


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [
        (Prediction("a", completions=(Completion("<think>so", "length"),)), "cut off"),
        (Prediction("a", completions=(Completion("[", "length"), Completion("?"))), "no answer"),
        (Prediction("a", completions=(Completion("B", "length"),), answer="B"), None),
        (Prediction("a"), "no answer"),
        (Prediction("a", "error", completions=(Completion("?", "length"),)), None),
        (Prediction("a", "not_applicable"), None),
    ],
)
def test_a_row_says_why_there_is_no_answer(prediction: Prediction, reason: str | None) -> None:
    row = sample_row(MINIMAL, prediction, index=0, cells=CELLS)
    assert row["no_answer_reason"] == reason


def test_totals_add_up_and_a_part_is_not_a_total() -> None:
    sample = make_sample()
    both = make_prediction(sample)
    row = sample_row(sample, both, index=0, cells=())
    assert (row["n_calls"], row["prompt_tokens"], row["output_tokens"]) == (2, 2000, 24)
    assert row["engine_seconds"] == pytest.approx(1.4)
    mute = make_prediction(sample, completions=(both.completions[0], Completion("?")))
    assert sample_row(sample, mute, index=0, cells=())["prompt_tokens"] is None


def test_text_that_parquet_cannot_hold_is_marked_and_the_rest_kept(tmp_path: Path) -> None:
    prediction = Prediction("a", completions=(Completion("a\ud800b\x00\n😀"),), answer="\udfff")
    row = through_parquet(tmp_path, SAMPLES, sample_row(MINIMAL, prediction, index=0, cells=()))
    assert row["stages"][0]["text"] == "a�b\x00\n😀" and row["extracted_answer"] == "�"
