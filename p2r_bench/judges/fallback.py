"""Second opinion by another judge when a scorer's rules find no answer."""

from __future__ import annotations

from dataclasses import replace

from p2r_bench.optional import HasCheck, close_judge
from p2r_bench.types import Judge, Prediction, Sample, Verdict, digest_of


class Fallback:
    """A judge's rules, and another judge's verdict where the rules find nothing in an answer.

    The scorer is called `RULES-then-SECOND`. The figures of the rules alone are reported too. Verdicts of the second
    judge have `Verdict.fallback` set; its failures are error verdicts. A prediction without an answer stays "no answer"
    and is not sent.

    Args:
        rules: The first judge; it decides which samples apply.
        second: The judge for answers in which the rules find nothing.

    Attributes:
        rules: Scorer of the first judge.
    """

    def __init__(self, rules: Judge, second: Judge) -> None:
        self._rules = rules
        self._second = second
        self.rules = rules.scorer
        self.scorer = f"{rules.scorer}-then-{second.scorer}"
        self.version = f"{rules.version}-then-{second.version}"
        self.params_hash = digest_of({"rules": rules.params_hash, "second": second.params_hash})

    def check(self) -> None:
        """Check that the second judge is set up.

        Raises:
            UserError: An error of its `check`.
        """
        if isinstance(self._second, HasCheck):
            self._second.check()

    def applies(self, sample: Sample) -> bool:
        return self._rules.applies(sample)

    async def judge(self, sample: Sample, prediction: Prediction) -> Verdict:
        verdict = await self._rules.judge(sample, prediction)
        if verdict.status == "ok" and verdict.extracted is None and prediction.answer:
            verdict = await self._second.judge(sample, prediction)
            verdict = replace(verdict, fallback=self._second.scorer)
        return replace(
            verdict,
            scorer=self.scorer,
            version=self.version,
            params_hash=self.params_hash,
            metric=None,
        )

    async def close(self) -> None:
        """Close the second judge; safe to call twice."""
        await close_judge(self._second)
