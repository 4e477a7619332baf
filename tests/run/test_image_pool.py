"""Threads for image work: order, errors, cancelling, closing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from p2r_bench.run.images.pool import ImagePool


@pytest.fixture
def pool() -> Iterator[ImagePool]:
    made = ImagePool(1)
    yield made
    made.close()


class Gate:
    """Work that begins at once and ends on demand."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.go_on.wait(30)


def test_lower_priorities_go_first_and_equal_ones_in_order(pool: ImagePool) -> None:
    done: list[str] = []

    async def main() -> None:
        gate = Gate()
        first = pool.submit(gate)
        await asyncio.to_thread(gate.begun.wait, 30)
        rest = [
            pool.submit(lambda name=name: done.append(name), priority)  # type: ignore[misc]
            for name, priority in [("a", 0), ("b", 0), ("urgent", -1), ("last", 1)]
        ]
        gate.go_on.set()
        await asyncio.gather(first, *rest)

    asyncio.run(main())
    assert done == ["urgent", "a", "b", "last"]


def test_an_error_goes_to_who_waits_and_the_thread_goes_on(pool: ImagePool) -> None:
    def fail() -> None:
        raise LookupError("here")

    async def main() -> None:
        with pytest.raises(LookupError, match="here"):
            await pool.submit(fail)
        assert await pool.submit(lambda: 3) == 3

    asyncio.run(main())


def test_what_was_cancelled_before_it_began_is_dropped(pool: ImagePool) -> None:
    ran: list[str] = []

    async def main() -> None:
        gate = Gate()
        first = pool.submit(gate)
        await asyncio.to_thread(gate.begun.wait, 30)
        dropped, kept = (
            pool.submit(lambda name=name: ran.append(name))  # type: ignore[misc]
            for name in ("dropped", "kept")
        )
        dropped.cancel()
        gate.go_on.set()
        await asyncio.gather(first, kept)

    asyncio.run(main())
    assert ran == ["kept"]


def test_closing_waits_for_what_has_begun_and_drops_the_rest() -> None:
    pool, gate, ran = ImagePool(1), Gate(), []

    async def main() -> None:
        pool.submit(gate)
        pool.submit(lambda: ran.append("never"))
        await asyncio.to_thread(gate.begun.wait, 30)
        closing = asyncio.create_task(asyncio.to_thread(pool.close))
        while not pool._closing:
            await asyncio.sleep(0.001)
        gate.go_on.set()
        await closing

    asyncio.run(main())
    pool.close()
    assert ran == []
