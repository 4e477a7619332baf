"""Contract of judges."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from p2r_bench.optional import close_judge
from p2r_bench.testing.naming import named
from p2r_bench.testing.samples import tiny_samples
from p2r_bench.types import Judge, Prediction, Sample, Verdict

UNUSUAL_ANSWERS = (
    "Z",
    "I cannot tell.",
    "A or B",
    "\\frac{1}{0}",
    "9" * 5000,
    "\udce9\x00\u202e",
    "(" * 2000,
    "是",
)
"""Answers that a model may give to any question; a judge raises on none of them."""


class JudgeContract:
    """Contract of judges. Subclass it and name the judge's scorer; pytest then runs the checks.

        class TestLenient(JudgeContract):
            judge = "lenient"
            right = ("B", "option b")
            wrong = ("C",)

    Attributes:
        judge: The scorer's registered name, or the class.
        plugin: The module with the plugin's hooks; without it the plugin has to be installed.
        params: Keyword arguments of the instance.
        samples: Samples to judge; default: `tiny_sample` of each answer form.
        right, wrong: Answers to the first sample that the judge applies to, beside the sample's own.
    """

    judge: Any
    plugin: Any = None
    params: Mapping[str, Any] = {}
    samples: Sequence[Sample] = tiny_samples()
    right: Sequence[str] = ()
    wrong: Sequence[str] = ()

    def make(self) -> Judge:
        """Return a fresh instance."""
        judge: Judge = named("judge", self.judge, self.plugin)(**self.params)
        return judge

    def verdict(self, sample: Sample, answer: str | None) -> Verdict:
        """Return a fresh instance's verdict on an answer."""
        return _judged(self.make(), sample, answer)

    @property
    def judged(self) -> list[Sample]:
        """Return the samples to which the judge applies."""
        judge = self.make()
        return [sample for sample in self.samples if judge.applies(sample)]

    def test_it_is_a_judge(self) -> None:
        judge = self.make()
        assert isinstance(judge, Judge), (
            "a judge has scorer, version, params_hash, applies and judge"
        )
        assert all(
            isinstance(text, str) and text
            for text in (judge.scorer, judge.version, judge.params_hash)
        )
        if isinstance(self.judge, str):
            assert judge.scorer == self.judge, "`scorer` must be the name it is registered under"

    def test_it_can_be_made_without_parameters(self) -> None:
        assert isinstance(named("judge", self.judge, self.plugin)(), Judge)

    def test_its_identity_does_not_change_from_one_to_the_next(self) -> None:
        assert self.make().params_hash == self.make().params_hash

    def test_it_applies_to_some_samples(self) -> None:
        assert all(isinstance(self.make().applies(sample), bool) for sample in self.samples)
        assert self.judged, "no sample to judge: override `samples` with one that it applies to"

    def test_the_right_answer_is_right(self) -> None:
        for sample in self.judged:
            verdict = self.verdict(sample, sample.answer)
            assert (verdict.status, verdict.correct) == ("ok", True)
            assert verdict.extracted is not None

    def test_no_answer_is_wrong(self) -> None:
        for sample in self.judged:
            verdict = self.verdict(sample, None)
            assert (verdict.status, verdict.correct, verdict.extracted) == ("ok", False, None)

    def test_verdicts_say_who_decided(self) -> None:
        judge = self.make()
        for sample in self.judged:
            verdict = self.verdict(sample, sample.answer)
            assert verdict.sample_id == sample.id
            said = (verdict.scorer, verdict.version, verdict.params_hash)
            assert said == (judge.scorer, judge.version, judge.params_hash)

    @pytest.mark.parametrize("answer", UNUSUAL_ANSWERS, ids=range(len(UNUSUAL_ANSWERS)))
    def test_no_answer_text_makes_it_raise(self, answer: str) -> None:
        for sample in self.judged:
            check_verdict(self.verdict(sample, answer), answer)

    def test_the_named_answers_are_judged_as_named(self) -> None:
        sample = self.judged[0]
        for answer in self.right:
            assert self.verdict(sample, answer).correct is True, answer
        for answer in self.wrong:
            assert self.verdict(sample, answer).correct is False, answer

    def test_the_same_answer_gets_the_same_verdict_also_at_once(self) -> None:
        judge = self.make()

        async def together() -> list[Verdict]:
            asked = [(s, Prediction(s.id, answer=s.answer)) for s in three_times]
            return await asyncio.gather(*(judge.judge(s, prediction) for s, prediction in asked))

        three_times = [sample for sample in self.judged for _ in range(3)]
        alone = [self.verdict(sample, sample.answer) for sample in three_times]
        assert asyncio.run(together()) == alone


class ServiceJudgeContract(JudgeContract):
    """Contract of judges with a service. `make` returns a judge with a working service, `make_broken` one with a
    failing service.
    """

    def make_broken(self) -> Judge:
        """Return an instance whose service always fails."""
        raise NotImplementedError(f"{type(self).__name__} needs `make_broken`")

    def test_a_failing_service_makes_an_error_and_never_a_wrong_answer(self) -> None:
        answer = "something else altogether"
        verdict = _judged(self.make_broken(), self.judged[0], answer)
        assert verdict.status == "error"
        check_verdict(verdict, answer)


def _judged(judge: Judge, sample: Sample, answer: str | None) -> Verdict:
    async def judged() -> Verdict:
        try:
            return await judge.judge(sample, Prediction(sample.id, answer=answer))
        finally:
            await close_judge(judge)

    return asyncio.run(judged())


def check_verdict(verdict: Verdict, answer: str) -> None:
    """Assert that the fields of a verdict on an answer are consistent."""
    if verdict.status == "error":
        assert verdict.correct is None and verdict.error is not None
        return
    assert isinstance(verdict.correct, bool) and verdict.error is None
    assert not (verdict.correct and verdict.extracted is None), (
        "right, although no answer was found"
    )
    if verdict.span is not None:
        start, end = verdict.span
        assert 0 <= start <= end <= len(answer)
