"""The circuit breaker waits while a service is down, and gives up instead of going on without it."""

from __future__ import annotations

import asyncio

import pytest
from p2r_bench_pra_grpo.services.breaker import Breaker
from p2r_bench_pra_grpo.stage import ServiceDown

from p2r_bench import EngineError

ERROR = EngineError("refused", kind="connection")


class Service:
    def __init__(self, down_for: int) -> None:
        self.down_for = down_for
        self.checks = 0

    async def check(self) -> None:
        self.checks += 1
        if self.checks <= self.down_for:
            raise ERROR


def breaker(service: Service, gives_up_after: float = 60.0) -> Breaker:
    return Breaker(
        "the model", service.check, opens_after=3, gives_up_after=gives_up_after, first_wait=0.001
    )


def test_some_failures_open_nothing() -> None:
    service = Service(0)
    guard = breaker(service)

    async def work() -> None:
        for _ in range(10):
            guard.failed(ERROR)
            guard.failed(ERROR)
            guard.answered()
            await guard.ready()

    asyncio.run(work())
    assert service.checks == 0


def test_callers_wait_until_the_service_is_back() -> None:
    service = Service(down_for=4)
    guard = breaker(service)

    async def work() -> None:
        for _ in range(3):
            guard.failed(ERROR)
        await asyncio.gather(*(guard.ready() for _ in range(20)))

    asyncio.run(work())
    assert service.checks == 5 and guard.pauses == 1


def test_a_service_that_stays_down_ends_the_stage_for_all_callers() -> None:
    guard = breaker(Service(down_for=10**9), gives_up_after=0.01)

    async def work() -> list[object]:
        for _ in range(3):
            guard.failed(ERROR)
        return await asyncio.gather(*(guard.ready() for _ in range(5)), return_exceptions=True)

    told = asyncio.run(work())
    assert all(isinstance(t, ServiceDown) for t in told) and "refused" in str(told[0])


def test_a_service_that_passes_the_check_and_fails_every_call_is_down() -> None:
    guard = breaker(Service(0))

    async def work() -> None:
        for _ in range(2):
            for _ in range(3):
                guard.failed(ERROR)
            await guard.ready()

    with pytest.raises(ServiceDown, match="passes its check and then fails every call"):
        asyncio.run(work())
