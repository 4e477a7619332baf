"""The scorer `numeric`: a number equal to the right one, by math-verify."""

from __future__ import annotations

import asyncio
import logging
import threading
from itertools import pairwise

from p2r_bench.judges.match import Match
from p2r_bench.judges.number import as_latex, numbers
from p2r_bench.judges.verdicts import decided, undecided
from p2r_bench.types import Prediction, Sample, Verdict, digest_of

_MOST_NUMBERS = 16
_one_at_a_time = threading.Lock()  # math-verify promises nothing about threads


class Numeric:
    """Numeric answers: right when the answer gives one value, and it equals the reference.

    Values are compared by math-verify: to six decimals, and a percentage equals both its number and
    its fraction ("50%" is "50" and "0.5"). Different values in one answer are no answer.
    """

    scorer = "numeric"
    version = "1"
    params_hash = digest_of({})

    def applies(self, sample: Sample) -> bool:
        return sample.answer_form == "number"

    async def judge(self, sample: Sample, prediction: Prediction) -> Verdict:
        reference = numbers(sample.answer)
        if len(reference) != 1:
            reason = f"the right answer {sample.answer!r} is not one number"
            return undecided(self, sample, "bad_reference", reason)
        found = numbers(prediction.answer or "")
        match, correct = await asyncio.to_thread(_compare, reference[0], found)
        return decided(self, sample, match, correct=correct)


def _compare(reference: Match, found: list[Match]) -> tuple[Match | None, bool]:
    """The one value of the answer, if it has one, and whether it equals the reference."""
    if not found or len(found) > _MOST_NUMBERS:
        return None, False
    with _one_at_a_time:
        if not all(_equal(a.value, b.value) for a, b in pairwise(found)):
            return None, False
        return found[0], _equal(reference.value, found[0].value)


def _equal(reference: str, number: str) -> bool:
    if reference == number:
        return True
    # It warns about missing timeouts, which use signals and work in the main thread only; what
    # `numbers` lets through is too short to take long.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    from math_verify import LatexExtractionConfig, parse, verify

    sides = [
        parse(as_latex(value), [LatexExtractionConfig()], parsing_timeout=None)
        for value in (reference, number)
    ]
    return bool(verify(*sides, timeout_seconds=None))
