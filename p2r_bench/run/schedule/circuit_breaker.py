"""Circuit breaker: stops a run whose engine fails, before it turns every row into an error."""

from __future__ import annotations

from p2r_bench.errors import UserError
from p2r_bench.types import Prediction

TRIP_AFTER = 16
"""Failures of the engine without a success between them that stop a session."""
OF_THE_ROW = frozenset({"image", "images", "image_bytes", "too_long", "refused"})
"""Kinds of errors that another row may not meet."""
OUTAGE = frozenset(
    {"connection", *(f"http_{status}" for status in (401, 402, 403, 429, 502, 503, 504))}
)
"""Kinds of errors that all rows meet from some moment on: the server is gone, or takes no more requests."""


class CircuitBreaker:
    """Counts failures of the engine until they show that going on is useless.

    Before the first success every failure of a call counts, unless its kind is in `OF_THE_ROW`. After it only those in
    `OUTAGE` count, and every other outcome of a call starts the count anew.

    Args:
        after: Failures that are too many; None where somebody else counts.
        succeeded: An earlier session of the run has had a success.
    """

    def __init__(self, after: int | None = TRIP_AFTER, *, succeeded: bool = False) -> None:
        self._after = after
        self._succeeded = succeeded
        self._failed = 0
        self._cause = ""
        self.tripped: UserError | None = None

    def note(self, prediction: Prediction) -> None:
        """Count one outcome; sets `tripped` when that makes too many."""
        error = prediction.error
        if error is None:
            self._succeeded, self._failed = True, 0
            return
        if error.role is None or error.type in OF_THE_ROW:
            return
        if self._succeeded and error.type not in OUTAGE:
            self._failed = 0
            return
        if not self._failed:
            self._cause = f"{error.type}: {error.message}"
        self._failed += 1
        if self._failed == self._after:
            which = "last" if self._succeeded else "first"
            self.tripped = UserError(
                f"the {which} {self._failed} samples all failed, so the run was stopped; the first error: "
                f"{self._cause}. They are recorded as errors and are tried again by the same command"
            )
