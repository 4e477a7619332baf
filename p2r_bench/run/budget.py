"""Back-pressure: a capacity that callers hold shares of, served by priority."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Budget:
    """A capacity in any unit (bytes, threads). Lower priority values are served first, then first come.

    A share larger than the whole capacity is granted when nothing else is held, so that one huge image
    is slow instead of impossible.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = 0
        self.peak = 0
        self._order = 0
        self._waiting: list[tuple[int, int, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def hold(self, share: int, priority: int = 0) -> AsyncIterator[None]:
        """Hold a share of the capacity for the length of the block; waits until it is free."""
        if self._waiting or not self._fits(share):
            granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._order += 1
            heapq.heappush(self._waiting, (priority, self._order, share, granted))
            try:
                await granted
            except asyncio.CancelledError:
                if granted.done() and not granted.cancelled():
                    self._give_back(share)
                raise
        else:
            self._take(share)
        try:
            yield
        finally:
            self._give_back(share)

    def _fits(self, share: int) -> bool:
        return self.held == 0 or self.held + share <= self.capacity

    def _take(self, share: int) -> None:
        self.held += share
        self.peak = max(self.peak, self.held)

    def _give_back(self, share: int) -> None:
        self.held -= share
        while self._waiting:
            _, _, waiting_share, granted = self._waiting[0]
            if granted.cancelled():
                heapq.heappop(self._waiting)
                continue
            if not self._fits(waiting_share):
                return
            heapq.heappop(self._waiting)
            self._take(waiting_share)
            granted.set_result(None)
