"""The scorer `strict`: the option that a reply names unambiguously."""

from __future__ import annotations

from p2r_bench.judges.choice import strict_letter
from p2r_bench.judges.verdicts import decided, undecided
from p2r_bench.types import Prediction, Sample, Verdict, digest_of


class Strict:
    """Multiple choice by `choice.strict_letter`; no answer counts as wrong."""

    scorer = "strict"
    version = "3"
    params_hash = digest_of({})

    def applies(self, sample: Sample) -> bool:
        return sample.answer_form == "choice"

    async def judge(self, sample: Sample, prediction: Prediction) -> Verdict:
        if sample.answer not in sample.options:
            known = ", ".join(sample.options) or "(none)"
            reason = f"the right answer {sample.answer!r} is not one of the options {known}"
            return undecided(self, sample, "bad_reference", reason)
        match = strict_letter(prediction.answer, sample.options) if prediction.answer else None
        correct = match is not None and match.value == sample.answer
        return decided(self, sample, match, correct=correct)
