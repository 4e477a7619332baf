"""A session in which nothing works is stopped early: it is the set-up that is wrong."""

from __future__ import annotations

from p2r_bench.errors import UserError
from p2r_bench.types import Prediction

HOPELESS_AFTER = 16
"""So many first samples that all fail stop a session."""


class FirstFailures:
    """Counts failures until the first sample that does not fail.

    Args:
        after: So many are too many; None where somebody else counts.
    """

    def __init__(self, after: int | None = HOPELESS_AFTER) -> None:
        self._after = after
        self._failed: int | None = 0
        self.hopeless: UserError | None = None

    def note(self, prediction: Prediction) -> None:
        """Count one outcome; sets `hopeless` when that makes too many."""
        if self._failed is None:
            return
        if prediction.error is None:
            self._failed = None
            return
        self._failed += 1
        if self._failed == self._after:
            self.hopeless = UserError(
                f"the first {self._failed} samples all failed, so the run was stopped; the last error: "
                f"{prediction.error.type}: {prediction.error.message}. They are recorded as errors and are "
                "tried again by the same command"
            )
