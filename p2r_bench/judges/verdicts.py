"""How judges state their verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2r_bench.types import ErrorInfo, Judge, Sample, Verdict

if TYPE_CHECKING:
    from p2r_bench.judges.match import Match


def decided(judge: Judge, sample: Sample, match: Match | None, *, correct: bool) -> Verdict:
    """A verdict with status "ok"; `match` None is "no answer"."""
    return Verdict(
        sample.id,
        judge.scorer,
        judge.version,
        judge.params_hash,
        extracted=match.value if match else None,
        span=match.span if match else None,
        correct=correct,
    )


def undecided(judge: Judge, sample: Sample, kind: str, message: str) -> Verdict:
    """A verdict with status "error": nothing is known, so nothing is right or wrong.

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
    )
