"""Circuit breaker: stops a run whose engine fails before every row becomes an error."""

from __future__ import annotations

from p2r_bench.errors import UserError
from p2r_bench.types import Prediction

TRIP_AFTER = 16
"""Counted failures of the engine that stop a session; see `CircuitBreaker`."""
OF_THE_ROW = frozenset({"image", "images", "image_bytes", "too_long", "refused"})
"""Kinds of errors that depend on the row."""
OUTAGE = frozenset(
    {"connection", *(f"http_{status}" for status in (401, 402, 403, 429, 502, 503, 504))}
)
"""Kinds of errors that all further rows would meet: the server is gone or refuses all requests."""


class CircuitBreaker:
    """Counter of engine failures that trips when further rows would fail as well.

    Before the first success every failed call counts unless its kind is in `OF_THE_ROW`. After the first success only
    the kinds in `OUTAGE` count. A success, or an error of another kind, resets the count; errors in `OF_THE_ROW` change
    nothing.

    Args:
        after: Failures that trip it; None disables it.
        succeeded: True if an earlier session of the run had a success.
    """

    def __init__(self, after: int | None = TRIP_AFTER, *, succeeded: bool = False) -> None:
        self._after = after
        self._succeeded = succeeded
        self._failed = 0
        self._cause = ""
        self.tripped: UserError | None = None

    def note(self, prediction: Prediction) -> None:
        """Count one prediction; set `tripped` at the limit."""
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
