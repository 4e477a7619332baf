"""Judges of a run, and its headline scorer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from p2r_bench.errors import JudgeError, UserError
from p2r_bench.judges.headline import headline_scorer, headline_scorers
from p2r_bench.judges.select import applicable, close_judges, make_judge, make_judges
from p2r_bench.judges.strict import Strict
from p2r_bench.judges.verdicts import verdict_of
from p2r_bench.types import Judge, Prediction, Sample, Verdict
from tests.judges.samples import sample

FORMS = {
    "choice": "B",
    "number": "7",
    "yes_no": "yes",
    "word": "dog",
    "free": "a dog",
    "caption": "a dog",
}
SERVED = {"verifier": {"url": "http://verifier.test/v1", "model": "m"}}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("P2R_BENCH_VERIFIER_URL", raising=False)
    monkeypatch.delenv("P2R_BENCH_VERIFIER_MODEL", raising=False)


def names(judges: list[Judge]) -> list[str]:
    return [judge.scorer for judge in judges]


def test_all_scorers_that_apply_to_a_sample_are_made() -> None:
    assert names(make_judges({}, [sample()])) == ["strict", "original", "vlmevalkit"]
    assert names(make_judges({}, [sample("7", "number")])) == ["numeric"]
    everything = [sample(answer, form) for form, answer in FORMS.items()]  # type: ignore[arg-type]
    made = make_judges(SERVED, everything)
    assert names(made) == [
        "strict",
        "original",
        "vlmevalkit",
        "numeric",
        "yes-no",
        "word",
        "verifier",
    ]
    assert names(applicable(made, everything[0])) == ["strict", "original", "vlmevalkit"]


@pytest.mark.parametrize(
    ("form", "scorer"),
    [
        ("choice", "strict"),
        ("number", "numeric"),
        ("yes_no", "yes-no"),
        ("word", "word"),
        ("free", "verifier"),
        ("caption", "verifier"),
    ],
)
def test_every_answer_form_has_its_headline_scorer(form: Any, scorer: str) -> None:
    assert headline_scorer(sample(FORMS[form], form), "strict") == scorer


def test_the_chosen_scorer_is_the_headline_where_it_applies() -> None:
    samples = [sample(), sample("7", "number")]
    judges = make_judges({}, samples, "original")
    assert headline_scorers(samples, "original", judges) == {
        "choice": "original",
        "number": "numeric",
    }
    word = sample("dog", "word")
    served = make_judges({"verifier": {**SERVED["verifier"], "forms": "word"}}, [word], "verifier")
    assert headline_scorer(word, "verifier", served) == "verifier"


def test_a_scorer_that_nothing_registers_is_refused() -> None:
    with pytest.raises(UserError, match="strict"):
        make_judges({}, [sample()], "strickt")
    with pytest.raises(UserError, match="verifier"):
        make_judges({"verifyer": {}}, [sample()])


def test_a_scorer_that_cannot_judge_the_choice_questions_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"'word' does not judge choice questions; strict, original, vlmevalkit do"
    ):
        make_judges({}, [sample()], "word")


def test_an_argument_that_a_judge_does_not_take_is_refused() -> None:
    with pytest.raises(UserError, match=r"'verifier'.*colour.*it takes url, model"):
        make_judge("verifier", {"colour": "red"})


def test_a_verifier_that_is_not_set_up_is_refused_when_it_is_needed() -> None:
    with pytest.raises(UserError, match="P2R_BENCH_VERIFIER_URL"):
        make_judges({}, [sample("a dog", "free")])


def test_a_verifier_that_is_not_set_up_is_left_out_when_it_is_not_needed() -> None:
    assert names(make_judges({"verifier": {"forms": "choice"}}, [sample()])) == [
        "strict",
        "original",
        "vlmevalkit",
    ]


class Broken(Strict):
    """A judge with a defect."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def judge(self, sample: Sample, prediction: Prediction) -> Verdict:
        raise self.error


@pytest.mark.parametrize("error", [JudgeError("no idea"), KeyError("x"), RuntimeError()])
def test_a_judge_that_raises_makes_an_error_verdict(error: Exception) -> None:
    one = sample()
    verdict = asyncio.run(verdict_of(Broken(error), one, Prediction(one.id, answer="B")))
    assert (verdict.status, verdict.correct, verdict.scorer) == ("error", None, "strict")
    assert verdict.error is not None and verdict.error.type == type(error).__name__


def test_a_judges_own_user_error_reaches_the_user() -> None:
    with pytest.raises(UserError, match="set it up"):
        asyncio.run(
            verdict_of(Broken(UserError("set it up")), sample(), Prediction("s1", answer="B"))
        )


def test_judges_that_hold_something_open_are_closed() -> None:
    class Open(Strict):
        closed = False

        async def close(self) -> None:
            self.closed = True

    held = Open()
    asyncio.run(close_judges([Strict(), held]))
    assert held.closed


def test_every_built_in_judge_is_a_judge() -> None:
    for name in ("strict", "original", "vlmevalkit", "numeric", "yes-no", "word", "verifier"):
        judge = make_judge(name, {})
        assert isinstance(judge, Judge)
        assert judge.scorer == name
        assert len(judge.params_hash) == 64
