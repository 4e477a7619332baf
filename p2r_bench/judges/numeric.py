"""The scorer `numeric`: a number equal to the right one."""

from __future__ import annotations

from p2r_bench.judges.number import read_number
from p2r_bench.judges.verdicts import decided, undecided
from p2r_bench.types import Prediction, Sample, Verdict, digest_of


class Numeric:
    """Numeric answers by `number.read_number`: right when equal to the reference; no answer is wrong."""

    scorer = "numeric"
    version = "3"
    params_hash = digest_of({})

    def applies(self, sample: Sample) -> bool:
        return sample.answer_form == "number"

    async def judge(self, sample: Sample, prediction: Prediction) -> Verdict:
        reference = read_number(sample.answer)
        if reference is None:
            reason = f"the right answer {sample.answer!r} cannot be read as one number"
            return undecided(self, sample, "bad_reference", reason)
        number = read_number(prediction.answer or "")
        correct = number is not None and number.equals(reference)
        return decided(self, sample, number.match if number else None, correct=correct)
