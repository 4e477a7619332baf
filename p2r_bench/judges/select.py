"""Which judges a set of samples gets, and whose verdict is the headline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.plugins import registry
from p2r_bench.types import AnswerForm, Judge, Sample

DEFAULT_SCORER = "strict"
HEADLINES: Mapping[AnswerForm, str] = {
    "choice": DEFAULT_SCORER,
    "number": "numeric",
    "yes_no": "yes-no",
    "word": "word",
    "free": "verifier",
    "caption": "verifier",
}
"""Answer form to the scorer whose verdict is reported first."""

Params = Mapping[str, Mapping[str, Any]]
"""Scorer to keyword arguments of its judge."""


def make_judges(
    params: Params, samples: Sequence[Sample], scorer: str = DEFAULT_SCORER
) -> list[Judge]:
    """Every registered judge that applies to one of the samples and is set up, in order of registration.

    A judge may have a `check()` that raises UserError when it is not set up (the verifier without a
    URL): that is fatal where its verdict would be a headline, and otherwise leaves it out. It may
    also have an async `close()`.

    Args:
        params: Keyword arguments of the judges.
        samples: What will be judged.
        scorer: The scorer chosen as headline.

    Raises:
        UserError: A scorer that nothing registers, wrong arguments, a chosen scorer that cannot judge
            choice questions although there are some, or a headline judge that is not set up.
    """
    names = registry().names("judge")
    for name in (scorer, *params):
        registry().entry("judge", name)
    made = [make_judge(name, params.get(name, {})) for name in names]
    judges = [judge for judge in made if any(judge.applies(sample) for sample in samples)]
    choices = [sample for sample in samples if sample.answer_form == "choice"]
    fitting = [judge.scorer for judge in judges if any(judge.applies(s) for s in choices)]
    if choices and scorer not in fitting:
        raise UserError(
            f"scorer {scorer!r} does not judge choice questions; {', '.join(fitting)} do"
        )
    headlines = headline_scorers(samples, scorer, judges).values()
    return [judge for judge in judges if _set_up(judge, needed=judge.scorer in headlines)]


def make_judge(name: str, params: Mapping[str, Any]) -> Judge:
    """The judge registered under a scorer name.

    Raises:
        UserError: The name is unknown, or the judge does not take these arguments; it names those it takes.
    """
    kind = registry().get("judge", name)
    try:
        signature(kind).bind(**params)
    except TypeError as error:
        takes = ", ".join(p for p in signature(kind).parameters) or "none"
        raise UserError(f"judge {name!r}: {error}; it takes {takes}") from error
    judge: Judge = kind(**params)
    return judge


def headline_scorer(sample: Sample, chosen: str, judges: Sequence[Judge] = ()) -> str:
    """The scorer whose verdict on a sample is reported first.

    The chosen one where it applies, otherwise the default of the answer form (HEADLINES). Without
    `judges` the chosen one is taken to judge choice questions only.
    """
    applies = any(judge.scorer == chosen and judge.applies(sample) for judge in judges)
    if applies or (not judges and sample.answer_form == "choice"):
        return chosen
    return HEADLINES[sample.answer_form]


def headline_scorers(
    samples: Iterable[Sample], chosen: str, judges: Sequence[Judge] = ()
) -> dict[str, str]:
    """The headline scorer of each answer form among the samples, as the first sample of the form decides."""
    first: dict[AnswerForm, Sample] = {}
    for sample in samples:
        first.setdefault(sample.answer_form, sample)
    return {form: headline_scorer(sample, chosen, judges) for form, sample in first.items()}


def applicable(judges: Sequence[Judge], sample: Sample) -> list[Judge]:
    """The judges that can judge a sample; all their verdicts are stored."""
    return [judge for judge in judges if judge.applies(sample)]


async def close_judges(judges: Iterable[Judge]) -> None:
    """Close those that hold something open."""
    for judge in judges:
        if (close := getattr(judge, "close", None)) is not None:
            await close()


def _set_up(judge: Judge, *, needed: bool) -> bool:
    check = getattr(judge, "check", None)
    if check is None:
        return True
    try:
        check()
    except UserError:
        if needed:
            raise
        return False
    return True
