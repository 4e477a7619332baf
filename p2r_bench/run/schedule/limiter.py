"""Limiter of samples in flight, by number and by the bytes of their images."""

from __future__ import annotations

import asyncio
from collections import Counter

from p2r_bench.run.images.rendering import EncodedImage
from p2r_bench.types import ErrorInfo


class Limiter:
    """Limit on the samples in flight.

    An image shared by several samples counts once. A sample whose image alone exceeds the limit enters when no other is
    in flight. Only one task at a time may call `enter`.

    Args:
        count: Most samples in flight.
        image_bytes: Most bytes of the encoded images of samples in flight.
    """

    def __init__(self, count: int, image_bytes: int) -> None:
        self._free = count
        self._room = image_bytes
        self._held = 0
        self._users: Counter[str] = Counter()
        self._left = asyncio.Event()

    async def enter(self, image: EncodedImage | ErrorInfo) -> None:
        """Wait until number and bytes are below the limit, then count the sample."""
        while not self._fits(image):
            self._left.clear()
            await self._left.wait()
        self._free -= 1
        if isinstance(image, EncodedImage):
            key = str(image.ref.digest)
            self._held += 0 if self._users[key] else len(image.data)
            self._users[key] += 1

    def leave(self, image: EncodedImage | ErrorInfo) -> None:
        """Stop counting a sample with this image."""
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
