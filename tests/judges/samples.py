"""Samples and predictions for tests of judges."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from p2r_bench.types import AnswerForm, ImageRef, Judge, Prediction, Sample, Verdict

COLOURS = {"A": "red", "B": "blue", "C": "green", "D": "dark red"}


def sample(
    answer: str = "B",
    form: AnswerForm = "choice",
    *,
    options: Mapping[str, str] | None = None,
    task: str = "HR-Bench",
    question: str = "Which colour is it?",
) -> Sample:
    """Return a sample; a choice has the COLOURS as options by default."""
    if options is None:
        options = COLOURS if form == "choice" else {}
    return Sample("s1", task, ImageRef(), question, answer, options=options, answer_form=form)


def judged(judge: Judge, one: Sample, answer: str | None) -> Verdict:
    """The judge's verdict on an answer."""
    return asyncio.run(judge.judge(one, Prediction(one.id, answer=answer)))
