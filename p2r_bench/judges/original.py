"""The scorer `original`: the letter rule of the published P2R evaluation."""

from __future__ import annotations

from p2r_bench.judges.published import original_letter, published_letters
from p2r_bench.judges.verdicts import decided, undecided
from p2r_bench.types import Prediction, Sample, Verdict, digest_of


class Original:
    """Multiple choice by `published.original_letter`; no answer counts as wrong."""

    scorer = "original"
    version = "1"
    params_hash = digest_of({})

    def applies(self, sample: Sample) -> bool:
        return sample.answer_form == "choice"

    async def judge(self, sample: Sample, prediction: Prediction) -> Verdict:
        letters = published_letters(sample.task, len(sample.options))
        if sample.answer not in letters:
            reason = f"the right answer {sample.answer!r} is not one of the letters {letters}"
            return undecided(self, sample, "bad_reference", reason)
        match = original_letter(prediction.answer, letters) if prediction.answer else None
        correct = match is not None and match.value == sample.answer
        return decided(self, sample, match, correct=correct)
