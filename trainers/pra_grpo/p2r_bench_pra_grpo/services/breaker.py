"""Circuit breaker: after repeated failures, no call is made until a small request succeeds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from p2r_bench.errors import EngineError, UserError
from p2r_bench_pra_grpo.stage import ServiceDown

Check = Callable[[], Awaitable[object]]
"""Function that sends the service a small request. It raises EngineError without an answer."""

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
SHORTEST_TRY_S = 10.0
"""Least time limit of the first attempt, in seconds."""

REFUSES_EVERYBODY = frozenset({"http_401", "http_403", "http_404"})
"""Kinds of failures that every request would meet and no retry repairs."""

T = TypeVar("T")


class Breaker:
    """Breaker that opens after consecutive failures, and closes when the check succeeds.

    While the breaker is open, callers wait, so that no rollout is lost to a server that is down. A service that
    passes the check and then fails every call again is down as well. A refusal that the request itself causes, such as
    a prompt that is too long, is not counted.

    Args:
        name: For messages.
        check: Repeated while open, with growing waits.
        opens_after: Consecutive failures.
        gives_up_after: Most seconds that it stays open.
    """

    def __init__(
        self,
        name: str,
        check: Check,
        *,
        opens_after: int,
        gives_up_after: float,
    ) -> None:
        self._name = name
        self._check = check
        self._opens_after = opens_after
        self._gives_up_after = gives_up_after
        self._failures = 0
        self._fruitless = False
        self._down: str | None = None
        self._mending = asyncio.Lock()
        self.pauses = 0

    async def ready(self) -> int:
        """Wait until calls may be made, and return the number of pauses so far, for `failed`.

        Raises:
            ServiceDown: The service did not recover.
        """
        if self._failures >= self._opens_after and self._down is None:
            async with self._mending:
                if self._failures >= self._opens_after and self._down is None:
                    await self._mend()
        if self._down is not None:
            raise ServiceDown(self._down)
        return self.pauses

    def answered(self) -> None:
        """Record a successful call."""
        self._failures, self._fruitless = 0, False

    def failed(self, error: EngineError, pauses: int) -> None:
        """Record a call that failed after its retries.

        Args:
            pauses: Result of `ready` before the call. A call that began before the last pause is not counted.
        """
        counts = error.retryable or error.kind in REFUSES_EVERYBODY
        if counts and pauses == self.pauses:
            self._failures += 1
            self._last = error

    async def _mend(self) -> None:
        last = f"the last error: {self._last.kind}: {self._last}"
        if self._fruitless:
            self._down = (
                f"{self._name} passes its check and then fails every call ({self._failures} in a row); {last}. "
                "Correct the cause; the same command then goes on from the last checkpoint"
            )
            return
        self.pauses += 1
        begun = time.monotonic()
        try:
            await outlast(self._check, self._gives_up_after)
        except EngineError as error:
            self._down = (
                f"{self._name} has not answered for {time.monotonic() - begun:.0f} s "
                f"({error.kind}: {error}); {last}. Bring it back; the same command then goes on from "
                "the last checkpoint"
            )
        else:
            self._failures, self._fruitless = 0, True


async def outlast(attempt: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Retry an attempt with exponential back-off for a limited time, and return its result.

    Raises:
        EngineError, UserError: Error of the last attempt; its kind is "timeout" if the attempt did not end.
    """
    ends = time.monotonic() + seconds
    patience, wait = max(seconds, SHORTEST_TRY_S), FIRST_WAIT_S
    while True:
        try:
            async with asyncio.timeout(patience):
                return await attempt()
        except (EngineError, UserError, TimeoutError) as error:
            patience = ends - time.monotonic() - wait
            if patience <= 0:
                if isinstance(error, TimeoutError):
                    raise EngineError("no answer to a small request", kind="timeout") from error
                raise
        await asyncio.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT_S)
