"""Construction of verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2r_bench.errors import UserError
from p2r_bench.optional import metric_of
from p2r_bench.types import ErrorInfo, Judge, Prediction, Sample, Verdict

if TYPE_CHECKING:
    from p2r_bench.judges.match import Match


async def verdict_of(judge: Judge, sample: Sample, prediction: Prediction) -> Verdict:
    """Return a judge's verdict; an exception of the judge becomes a verdict with status "error".

    Raises:
        UserError: The judge is not set up.
    """
    try:
        return await judge.judge(sample, prediction)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - a plugin's own error belongs to the sample, not to the run
        return undecided(judge, sample, type(error).__name__, str(error) or repr(error))


def decided(
    judge: Judge, sample: Sample, match: Match | None, *, correct: bool, score: float | None = None
) -> Verdict:
    """Return a verdict with status "ok".

    Args:
        match: The extracted value; None is "no answer".
        score: Credit from 0 to 1; by default 1 when correct and 0 when not.
    """
    return Verdict(
        sample.id,
        judge.scorer,
        judge.version,
        judge.params_hash,
        extracted=match.value if match else None,
        span=match.span if match else None,
        correct=correct,
        score=score,
        metric=metric_of(judge),
    )


def undecided(judge: Judge, sample: Sample, kind: str, message: str) -> Verdict:
    """Return a verdict with status "error", neither right nor wrong.

    Args:
        kind: Short machine-readable cause, such as "timeout" or "bad_reference".
    """
    return Verdict(
        sample.id,
        judge.scorer,
        judge.version,
        judge.params_hash,
        status="error",
        error=ErrorInfo(kind, message),
        metric=metric_of(judge),
    )
