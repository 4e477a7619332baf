"""How many samples are worked on at once."""

from __future__ import annotations

import asyncio
from collections import Counter

from p2r_bench.run.images import EncodedImage
from p2r_bench.types import ErrorInfo


class Places:
    """A number of places, and room for the encoded images of those who have one.

    An image counts once, however many samples share it. A sample whose image is larger than all of the
    room gets its place when nobody else has one. One task at a time enters.
    """

    def __init__(self, count: int, image_bytes: int) -> None:
        self._free = count
        self._room = image_bytes
        self._held = 0
        self._users: Counter[str] = Counter()
        self._left = asyncio.Event()

    async def enter(self, image: EncodedImage | ErrorInfo) -> None:
        """Take a place; waits until one is free and the image has room."""
        while not self._fits(image):
            self._left.clear()
            await self._left.wait()
        self._free -= 1
        if isinstance(image, EncodedImage):
            key = str(image.ref.digest)
            self._held += 0 if self._users[key] else len(image.data)
            self._users[key] += 1

    def leave(self, image: EncodedImage | ErrorInfo) -> None:
        """Give the place back."""
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
