"""Which copy of the model gets a request: the one that has seen its image, else the one with the least to do."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

REMEMBERED = 4096
"""Images whose copy is remembered."""


class Ranks:
    """Keeps requests with the same source image on one copy, whose prefix cache and image cache know it."""

    def __init__(self, copies: int) -> None:
        self._busy = [0] * copies
        self._seen: OrderedDict[str, int] = OrderedDict()

    @contextmanager
    def place(self, source: str | None) -> Iterator[int]:
        """The copy, from 0, for a request about this source image (None: about none), while it runs."""
        rank = self._choose(source)
        self._busy[rank] += 1
        try:
            yield rank
        finally:
            self._busy[rank] -= 1

    def _choose(self, source: str | None) -> int:
        idle = min(self._busy)
        known = self._seen.get(source) if source is not None else None
        # A copy that has twice as much to do as another loses an image to it.
        rank = known if known is not None and self._busy[known] <= 2 * idle + 8 else None
        if rank is None:
            rank = self._busy.index(idle)
        if source is not None:
            self._seen[source] = rank
            self._seen.move_to_end(source)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return rank
