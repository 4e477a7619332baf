"""Request bodies of many megabytes, sent without copying their parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

CHUNK_BYTES = 256 << 10
"""Bytes given to the connection at a time. The connection copies bytes that the network does not take at once."""


class Body:
    """A body whose parts are shared and never joined. It can be sent several times."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __bytes__(self) -> bytes:
        return b"".join(self._parts)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            if len(part) <= CHUNK_BYTES:
                yield part
                continue
            view = memoryview(part)
            for start in range(0, len(part), CHUNK_BYTES):
                yield bytes(view[start : start + CHUNK_BYTES])
