"""Scripts answer as written, whatever the order of the calls; helpers run a mode on them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from p2r_bench import EngineError, TwoStage, load_profile
from p2r_bench.modes.p2r import P2R
from p2r_bench.tasks.reading import probe, read_image
from p2r_bench.testing import (
    Script,
    right_replies,
    scripted_run,
    solve,
    tiny_sample,
    tiny_samples,
    without_boxes,
    write_bench,
)
from p2r_bench.types import Request


def request(sample_id: str = "a", role: str = "think") -> Request:
    two = TwoStage(load_profile("tiny"))
    return replace(two.single_request(tiny_sample(), "think"), sample_id=sample_id, role=role)


def test_one_text_answers_everything() -> None:
    script = Script("yes")
    assert [script.text(request(i)) for i in "ab"] == ["yes", "yes"]


def test_a_sequence_is_counted_for_each_sample() -> None:
    script = Script(["first", "second"])
    assert [script.text(request(i)) for i in "abba"] == ["first", "first", "second", "second"]


def test_replies_by_role_are_counted_for_each_role() -> None:
    script = Script({"think": ["one", "two"], "answer": "A"})
    roles = ("think", "answer", "think", "answer")
    assert [script.text(request(role=role)) for role in roles] == ["one", "A", "two", "A"]


def test_an_exception_is_raised_in_place_of_a_text() -> None:
    script = Script(["first", EngineError("gone")])
    script.text(request())
    with pytest.raises(EngineError, match="gone"):
        script.text(request())


def test_a_missing_reply_is_told_with_sample_and_role() -> None:
    script = Script({"think": ["one"]})
    script.text(request())
    with pytest.raises(AssertionError, match=r"1 replies.*'think'.*a asks once more"):
        script.text(request())
    with pytest.raises(AssertionError, match="no reply for the role 'answer', only for think"):
        script.text(request(role="answer"))


def test_a_script_remembers_what_was_asked_and_answered() -> None:
    script = Script("yes")
    completion = asyncio.run(script(request()))
    assert (script.requests, script.completions) == ([request()], [completion])
    assert (completion.text, completion.request) == ("yes", request())


def test_solve_gives_the_prediction_of_a_mode() -> None:
    prediction = solve(P2R(), tiny_sample(), right_replies(tiny_sample()), profile="tiny")
    assert prediction.answer == "B"
    assert prediction.evidence is not None and len(prediction.evidence.crops) == 1
    assert [c.request.role for c in prediction.completions if c.request] == ["perceive", "reason"]


def test_tiny_samples_are_one_of_each_answer_form_and_probed() -> None:
    assert [s.answer_form for s in tiny_samples()] == [
        "choice",
        "number",
        "free",
        "word",
        "caption",
        "yes_no",
    ]
    for sample in tiny_samples():
        assert probe(sample.image, read_image(sample.image)) == sample.image
        assert sample.boxes and without_boxes(sample).boxes is None


def test_a_scripted_run_goes_through_the_whole_pipeline(tmp_path: Path) -> None:
    replies = {"perceive": "[]", "reason": "<answer>A</answer>"}
    where = {"data_dir": write_bench(tmp_path / "data"), "out": tmp_path / "results"}
    result = scripted_run("p2r", replies, **where)
    (overall,) = result.overall
    assert result.complete and overall["value"] == 0.25 and overall["calls_per_sample"] == 2
    again = scripted_run("p2r", replies, **where)
    assert (again.run_id, again.added) == (result.run_id, 0)


def test_a_failing_reply_is_an_error_of_the_run(tmp_path: Path) -> None:
    def reply(request: Request) -> str | Exception:
        return EngineError("gone") if request.sample_id == "4K/0" else "<answer>A</answer>"

    result = scripted_run(
        "thinking", reply, data_dir=write_bench(tmp_path / "data"), out=tmp_path / "results"
    )
    assert not result.complete
    assert [row["n_errors"] for row in result.overall] == [1]


USES_THE_FIXTURES = """
def test_fixtures(scripted_run, tiny_bench):
    assert (tiny_bench / "hrbench_4k-00000-of-00001.parquet").is_file()
    assert scripted_run("thinking", "<answer>A</answer>").complete
"""


def test_named_as_a_pytest_plugin_it_brings_its_fixtures(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = "p2r_bench.testing"\n', "utf-8")
    (tmp_path / "test_fixtures.py").write_text(USES_THE_FIXTURES, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    tested = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_it_is_no_plugin_unless_it_is_named() -> None:
    assert not [
        e for e in metadata.entry_points(group="pytest11") if e.value.startswith("p2r_bench")
    ]
