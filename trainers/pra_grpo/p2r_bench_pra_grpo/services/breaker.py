"""A circuit breaker: when calls keep failing, nobody is asked until a small request succeeds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from p2r_bench.errors import EngineError
from p2r_bench_pra_grpo.stage import ServiceDown

Check = Callable[[], Awaitable[object]]
"""Asks the service something small; raises EngineError when it does not answer."""

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0


class Breaker:
    """Opens after so many failures in a row, and closes when the check succeeds.

    While it is open, callers wait: no rollout is made worthless by a server that is down. A service that
    passes the check and then fails every call again is down as well.

    Args:
        name: For messages.
        check: Asked again and again while open, with growing waits.
        opens_after: Failures in a row.
        gives_up_after: Seconds that it stays open at most.
    """

    def __init__(
        self,
        name: str,
        check: Check,
        *,
        opens_after: int,
        gives_up_after: float,
        first_wait: float = FIRST_WAIT_S,
    ) -> None:
        self._name = name
        self._check = check
        self._opens_after = opens_after
        self._gives_up_after = gives_up_after
        self._first_wait = first_wait
        self._failures = 0
        self._fruitless = False
        self._down: str | None = None
        self._mending = asyncio.Lock()
        self.pauses = 0

    async def ready(self) -> None:
        """Return when calls may be made.

        Raises:
            ServiceDown: The service did not come back.
        """
        if self._failures >= self._opens_after and self._down is None:
            async with self._mending:
                if self._failures >= self._opens_after and self._down is None:
                    await self._mend()
        if self._down is not None:
            raise ServiceDown(self._down)

    def answered(self) -> None:
        """A call succeeded."""
        self._failures, self._fruitless = 0, False

    def failed(self, error: EngineError) -> None:
        """A call failed after its retries."""
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
        begun, wait = time.monotonic(), self._first_wait
        while True:
            try:
                await self._check()
            except EngineError as error:
                if time.monotonic() - begun + wait > self._gives_up_after:
                    self._down = (
                        f"{self._name} has not answered for {time.monotonic() - begun:.0f} s "
                        f"({error.kind}: {error}); {last}. Bring it back; the same command then goes on from "
                        "the last checkpoint"
                    )
                    return
            else:
                self._failures, self._fruitless = 0, True
                return
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_S)
