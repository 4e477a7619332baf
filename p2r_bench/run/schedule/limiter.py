"""Limits the samples in flight, by number and by the bytes of their images."""

from __future__ import annotations

import asyncio
from collections import Counter

from p2r_bench.run.images.rendering import EncodedImage
from p2r_bench.types import ErrorInfo


class Limiter:
    """Limit of samples in flight.

    An image counts once, however many samples share it. A sample whose image alone exceeds the limit enters when no
    other is in flight. One task at a time may enter.

    Args:
        count: Samples.
        image_bytes: Bytes of their encoded images.
    """

    def __init__(self, count: int, image_bytes: int) -> None:
        self._free = count
        self._room = image_bytes
        self._held = 0
        self._users: Counter[str] = Counter()
        self._left = asyncio.Event()

    async def enter(self, image: EncodedImage | ErrorInfo) -> None:
        """Enter; wait until number and bytes are below the limit."""
        while not self._fits(image):
            self._left.clear()
            await self._left.wait()
        self._free -= 1
        if isinstance(image, EncodedImage):
            key = str(image.ref.digest)
            self._held += 0 if self._users[key] else len(image.data)
            self._users[key] += 1

    def leave(self, image: EncodedImage | ErrorInfo) -> None:
        """Leave."""
        self._free += 1
        if isinstance(image, EncodedImage):
            key = str(image.ref.digest)
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key]
                self._held -= len(image.data)
        self._left.set()

    def _fits(self, image: EncodedImage | ErrorInfo) -> bool:
        if self._free <= 0:
            return False
        if isinstance(image, ErrorInfo) or not self._held or image.ref.digest in self._users:
            return True
        return self._held + len(image.data) <= self._room
