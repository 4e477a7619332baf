"""When failures mean that the set-up is wrong, of a session or of one replica."""

from __future__ import annotations

from collections import Counter

from p2r_bench.errors import UserError
from p2r_bench.types import Prediction

HOPELESS_AFTER = 16
"""So many first samples that all fail stop a session; so many calls in a row, a replica."""


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


class Streaks:
    """Finds the replica whose calls all fail while others succeed: left alone, it would soon fail all rows."""

    def __init__(self) -> None:
        self._lengths: Counter[str] = Counter()
        self._successes = 0
        self._before: dict[str, int] = {}

    def note(self, replica: str, prediction: Prediction) -> None:
        """Count one outcome. Failures that are not of a call, such as an unreadable image, do not count."""
        if prediction.status != "error":
            self._successes += 1
            self.forget(replica)
        elif prediction.error is not None and prediction.error.role is not None:
            self._before.setdefault(replica, self._successes)
            self._lengths[replica] += 1

    def broken(self, replica: str) -> int:
        """How many calls of a broken replica failed in a row; 0 for one that is not."""
        length = self._lengths[replica]
        others_succeed = self._successes > self._before.get(replica, 0)
        return length if length >= HOPELESS_AFTER and others_succeed else 0

    def forget(self, replica: str) -> None:
        """It starts anew."""
        self._lengths.pop(replica, None)
        self._before.pop(replica, None)
