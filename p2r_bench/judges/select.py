"""Selection of the judges of a set of samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from inspect import signature
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.judges.fallback import Fallback
from p2r_bench.judges.headline import DEFAULT_SCORER, headline_scorers
from p2r_bench.optional import HasCheck, close_judge
from p2r_bench.plugins import registry
from p2r_bench.types import Judge, Sample

FALLBACK = "fallback"
"""Argument of any scorer: the judge for answers in which its rules find nothing."""

Params = Mapping[str, Mapping[str, Any]]
"""Keyword arguments of judges, by scorer."""


def make_judges(
    params: Params, samples: Sequence[Sample], scorer: str = DEFAULT_SCORER
) -> list[Judge]:
    """Return every registered judge that is set up and applies to one of the samples, in order of registration.

    A judge that is not set up (its `check()` raises UserError, like the verifier without a URL) is left out, except if
    its verdict would be a headline: then the error is raised. An argument `fallback=SECOND` of any scorer adds the
    scorer `SCORER-then-SECOND` (see `Fallback`), which has to be set up.

    Args:
        params: Keyword arguments of the judges.
        samples: Samples to judge.
        scorer: The scorer chosen as headline.

    Raises:
        UserError: A scorer that nothing registers, wrong arguments, a chosen scorer that cannot judge
            choice questions although there are some, or a headline judge that is not set up.
    """
    names = registry().names("judge")
    for name in params:
        registry().entry("judge", name)
    own = {name: {**params.get(name, {})} for name in names}
    seconds = {name: given.pop(FALLBACK) for name, given in own.items() if FALLBACK in given}
    by_name = {name: make_judge(name, given) for name, given in own.items()}
    fallbacks = [_fallback(name, second, by_name) for name, second in seconds.items()]
    made = [*by_name.values(), *fallbacks]
    if scorer not in {judge.scorer for judge in made}:
        registry().entry("judge", scorer)
    judges = [judge for judge in made if any(judge.applies(sample) for sample in samples)]
    choices = [sample for sample in samples if sample.answer_form == "choice"]
    fitting = [judge.scorer for judge in judges if any(judge.applies(s) for s in choices)]
    if choices and scorer not in fitting:
        raise UserError(
            f"scorer {scorer!r} does not judge choice questions; {', '.join(fitting)} do"
        )
    needed = {
        *headline_scorers(samples, scorer, judges).values(),
        *(judge.scorer for judge in fallbacks),
    }
    return [judge for judge in judges if _set_up(judge, needed=judge.scorer in needed)]


def fallback_of(scorer: str, judges: Sequence[Judge]) -> Judge | None:
    """Return the judge that adds a second opinion to this scorer, or None."""
    return next((j for j in judges if isinstance(j, Fallback) and j.rules == scorer), None)


def _fallback(name: str, second: object, by_name: Mapping[str, Judge]) -> Judge:
    others = [other for other in by_name if other != name]
    if second not in others:
        raise UserError(
            f"judge {name!r}: fallback={second}: must be another scorer, one of {', '.join(others)}"
        )
    return Fallback(by_name[name], by_name[str(second)])


def make_judge(name: str, params: Mapping[str, Any]) -> Judge:
    """Return the judge registered under a scorer name.

    Raises:
        UserError: An unknown name, or arguments that the judge does not take; the message names the accepted ones.
    """
    kind = registry().get("judge", name)
    try:
        signature(kind).bind(**params)
    except TypeError as error:
        takes = ", ".join(p for p in signature(kind).parameters) or "none"
        raise UserError(f"judge {name!r}: {error}; it takes {takes}") from error
    judge: Judge = kind(**params)
    return judge


def applicable(judges: Sequence[Judge], sample: Sample) -> list[Judge]:
    """Return the judges that can judge a sample; all their verdicts are stored."""
    return [judge for judge in judges if judge.applies(sample)]


async def close_judges(judges: Iterable[Judge]) -> None:
    """Close the judges that hold resources."""
    for judge in judges:
        await close_judge(judge)


def _set_up(judge: Judge, *, needed: bool) -> bool:
    if not isinstance(judge, HasCheck):
        return True
    try:
        judge.check()
    except UserError:
        if needed:
            raise
        return False
    return True
