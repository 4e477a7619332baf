"""The scorer `yes-no`."""

from __future__ import annotations

import re

from p2r_bench.judges.match import Match
from p2r_bench.judges.tokens import plain
from p2r_bench.judges.verdicts import decided, undecided
from p2r_bench.types import Prediction, Sample, Verdict, digest_of

_LEADING = re.compile(
    r"(?:^[\W_]*|\banswer(?:\s+is)?[\W_]+)(yes|no)(?![^\W_])"
    r"(?![\W_]*(?:(?:and|or)[\W_]+)?(?:yes|no)(?![^\W_]))",
    re.IGNORECASE,
)


def yes_or_no(text: str) -> Match | None:
    """ "yes" or "no", as the answer says it in any case, or None for "no answer".

    The word counts at the start of the answer, or directly after "answer" or "answer is", unless a
    second one follows at once ("yes and no", "yes/no"). What comes after it is not read ("No, there is
    no dog"); "there is no dog" alone says neither. Saying both, each where it counts, is no answer.

    Args:
        text: The answer, already taken out of its tags.
    """
    said = [Match(m[1].lower(), m.span(1)) for m in _LEADING.finditer(plain(text))]
    return said[0] if len({match.value for match in said}) == 1 else None


class YesNo:
    """Yes-or-no questions by `yes_or_no`; no answer counts as wrong."""

    scorer = "yes-no"
    version = "1"
    params_hash = digest_of({})

    def applies(self, sample: Sample) -> bool:
        return sample.answer_form == "yes_no"

    async def judge(self, sample: Sample, prediction: Prediction) -> Verdict:
        reference = yes_or_no(sample.answer)
        if reference is None:
            reason = f"the right answer {sample.answer!r} is neither yes nor no"
            return undecided(self, sample, "bad_reference", reason)
        match = yes_or_no(prediction.answer or "")
        correct = match is not None and match.value == reference.value
        return decided(self, sample, match, correct=correct)
