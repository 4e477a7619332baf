"""Back-pressure by shares of a capacity."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from p2r_bench.run.budget import Budget


@given(st.lists(st.tuples(st.integers(1, 15), st.integers(-2, 2)), max_size=30))
def test_capacity_is_never_exceeded_but_by_one_lone_large_share(
    shares: list[tuple[int, int]],
) -> None:
    async def main() -> None:
        budget = Budget(10)
        holding: list[int] = []

        async def hold(share: int, priority: int) -> None:
            async with budget.hold(share, priority):
                holding.append(share)
                assert sum(holding) <= 10 or len(holding) == 1
                await asyncio.sleep(0)
                holding.remove(share)

        await asyncio.gather(*(hold(*share) for share in shares))
        assert budget.held == 0

    asyncio.run(main())


def test_lower_priority_values_are_served_first() -> None:
    async def main() -> list[int]:
        budget, order = Budget(1), []

        async def hold(priority: int) -> None:
            async with budget.hold(1, priority):
                order.append(priority)

        async with budget.hold(1):
            tasks = [asyncio.create_task(hold(p)) for p in (1, 0, -1)]
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(main()) == [-1, 0, 1]


def test_cancelled_waiters_leave_nothing_held() -> None:
    async def main() -> int:
        budget = Budget(1)

        async def hold() -> None:
            async with budget.hold(1):
                await asyncio.sleep(10)

        tasks = [asyncio.create_task(hold()) for _ in range(5)]
        await asyncio.sleep(0)
        for task in reversed(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return budget.held

    assert asyncio.run(main()) == 0


def test_a_share_granted_at_the_moment_of_cancellation_is_given_back() -> None:
    async def main() -> int:
        budget = Budget(1)

        async def hold() -> None:
            async with budget.hold(1):
                await asyncio.sleep(0)

        async with budget.hold(1):
            waiter = asyncio.create_task(hold())
            await asyncio.sleep(0)
        waiter.cancel()  # granted, not yet resumed
        await asyncio.gather(waiter, return_exceptions=True)
        return budget.held

    assert asyncio.run(main()) == 0
