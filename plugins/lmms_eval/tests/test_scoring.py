"""lmms-eval's scorers receive the extracted answers; a run that could not be scored is refused at its start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from p2r_bench_lmms_eval.documents import Documents
from p2r_bench_lmms_eval.judge import Lmms
from p2r_bench_lmms_eval.loading import load_task
from p2r_bench_lmms_eval.scoring import check_scorable, handed, is_right, process, wants_service
from p2r_bench_lmms_eval.task import LmmsTask

from p2r_bench import DataSource, Prediction, UserError
from p2r_bench.judges.verdicts import verdict_of

Load = Callable[[str], Any]
LOCAL = ("vstar_local", "hrbench_local", "mme_local")


@pytest.mark.parametrize("name", LOCAL)
def test_no_answer_is_wrong_and_needs_no_service(load: Load, name: str) -> None:
    task = load(name)
    text = handed(task, Documents(task).sample(0), None)
    assert text == "Z"
    assert is_right(task, process(task, task.eval_docs_no_media[0], text)) is False


@pytest.mark.parametrize("name", LOCAL)
def test_each_letter_scores_as_the_document_says(load: Load, name: str) -> None:
    task = load(name)
    for number in range(4):
        sample = Documents(task).sample(number)
        right = {
            letter: is_right(task, process(task, task.eval_docs_no_media[number], letter))
            for letter in sample.options
        }
        assert right == {letter: letter == sample.answer for letter in sample.options}


def test_only_hr_bench_asks_a_service(load: Load) -> None:
    assert [wants_service(load(name)) for name in LOCAL] == [False, True, False]


def test_without_a_service_hr_bench_gets_a_letter_or_none(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = load("hrbench_local")
    sample = Documents(task).sample(0)
    letter = next(iter(sample.options))
    assert handed(task, sample, f"The answer is {letter}.") == letter
    assert handed(task, sample, "I cannot tell") == "Z"
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    assert handed(task, sample, "I cannot tell") == "I cannot tell"


def test_answers_go_to_other_scorers_as_they_are(load: Load) -> None:
    task = load("vstar_local")
    assert handed(task, Documents(task).sample(0), "It is (B)") == "It is (B)"


def test_a_scorer_that_needs_a_service_is_refused_at_start_for_free_answers(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = load("hrbench_local")
    check_scorable(task, "lmms:x", choices_only=True)
    with pytest.raises(UserError, match="asks a judge model; set OPENAI_API_KEY"):
        check_scorable(task, "lmms:x", choices_only=False)
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    check_scorable(task, "lmms:x", choices_only=False)


def test_a_task_that_a_server_scores_is_refused_at_start(load: Load) -> None:
    with pytest.raises(UserError, match="only writes a file for a server"):
        check_scorable(load("sent_colours"), "lmms:sent_colours", choices_only=False)


def test_a_scorer_that_raises_has_no_verdict(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = DataSource(params={"include_path": str(theirs)})
    (sample, *_) = LmmsTask("colours").samples(source)
    judge = Lmms(include_path=str(theirs))
    right = asyncio.run(verdict_of(judge, sample, Prediction("0", answer="Red")))
    assert (right.correct, right.status, right.extracted) == (True, "ok", "Red")
    monkeypatch.setattr(
        load_task("colours", source).config, "process_results", lambda doc, results: 1 / 0
    )
    failed = asyncio.run(verdict_of(judge, sample, Prediction("0", answer="Red")))
    assert (failed.correct, failed.status) == (None, "error")
    assert failed.error is not None and failed.error.type == "ZeroDivisionError"
