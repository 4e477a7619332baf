"""`score --all`: every scorer's figure, and the samples on which scorers disagree, with the span."""

from __future__ import annotations

from pathlib import Path

from p2r_bench.store.disagreements import Disagreement, Reading
from p2r_bench.testing import scripted_run, write_bench
from tests.trust.runs import invoke, json_of


def test_scorers_are_shown_side_by_side_with_what_they_read(tmp_path: Path) -> None:
    data = write_bench(tmp_path / "data", questions=2)
    text = "<answer>Based on the image I cannot tell</answer>"
    run = scripted_run("p2r", {"perceive": "[]", "reason": text}, out=tmp_path, data_dir=data)
    (found,) = json_of("score", run.run_id, "--all", "--out", tmp_path)
    figures = [r for r in found["metrics"] if r["category"] is None and r["metric"] == "accuracy"]
    scorers = {row["scorer"]: row["value"] for row in figures}
    assert scorers.keys() >= {"strict", "original", "vlmevalkit"}
    assert (scorers["original"], scorers["strict"], scorers["vlmevalkit"]) == (0.25, 0, 0)
    assert len(found["disagreements"]) == 2
    one = found["disagreements"][0]
    readings = {reading["scorer"]: reading for reading in one["readings"]}
    assert (one["right"], readings["original"]["correct"], readings["original"]["span"]) == (
        "B",
        True,
        [0, 1],
    )
    assert readings["strict"]["extracted"] is None
    shown = invoke("score", run.run_id, "--all", "--limit", 1, "--out", tmp_path)
    assert shown.exit_code == 0
    assert "the scorers disagree on 2 samples" in shown.output
    assert "«B»ased on the image I can" in shown.output
    assert "and 1 more" in shown.output


def test_the_span_is_shown_in_its_surroundings() -> None:
    answer = "x" * 100 + " B " + "y" * 100
    one = Disagreement("a", 0, "B", answer, (Reading("strict", True, "B", (101, 102)),))
    assert one.shown(one.readings[0]) == f"…{'x' * 23} «B» {'y' * 23}…"
    assert one.shown(Reading("strict", False, None, None)) == "no answer found"


def test_predictions_have_one_scorer(tmp_path: Path) -> None:
    done = invoke("score", "--predictions", tmp_path / "rows.jsonl", "--all")
    assert done.exit_code == 2 and "--all applies to runs" in done.output
