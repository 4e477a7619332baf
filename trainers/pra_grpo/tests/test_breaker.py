"""The circuit breaker waits while a service is down, and gives up instead of going on without it."""

from __future__ import annotations

import asyncio

import pytest
from p2r_bench_pra_grpo.services.breaker import Breaker, outlast
from p2r_bench_pra_grpo.stage import ServiceDown

from p2r_bench import EngineError, UserError

ERROR = EngineError("refused", kind="connection")
TOO_LONG = EngineError("4097 tokens", kind="too_long", retryable=False)


@pytest.fixture(autouse=True)
def hardly_any_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2r_bench_pra_grpo.services.breaker.FIRST_WAIT_S", 0.001)


class Service:
    def __init__(self, down_for: int) -> None:
        self.down_for = down_for
        self.checks = 0

    async def check(self) -> None:
        self.checks += 1
        if self.checks <= self.down_for:
            raise ERROR


def breaker(service: Service, gives_up_after: float = 60.0) -> Breaker:
    return Breaker("the model", service.check, opens_after=3, gives_up_after=gives_up_after)


async def fail(guard: Breaker, times: int = 3, error: EngineError = ERROR) -> None:
    """Make a number of calls in a row."""
    for _ in range(times):
        guard.failed(error, await guard.ready())


def test_some_failures_open_nothing() -> None:
    service = Service(0)
    guard = breaker(service)

    async def work() -> None:
        for _ in range(10):
            await fail(guard, 2)
            guard.answered()
            await guard.ready()

    asyncio.run(work())
    assert service.checks == 0


def test_callers_wait_until_the_service_is_back() -> None:
    service = Service(down_for=4)
    guard = breaker(service)

    async def work() -> None:
        await fail(guard)
        await asyncio.gather(*(guard.ready() for _ in range(20)))

    asyncio.run(work())
    assert service.checks == 5 and guard.pauses == 1


def test_a_service_that_stays_down_ends_the_stage_for_all_callers() -> None:
    guard = breaker(Service(down_for=10**9), gives_up_after=0.01)

    async def work() -> list[object]:
        await fail(guard)
        return await asyncio.gather(*(guard.ready() for _ in range(5)), return_exceptions=True)

    told = asyncio.run(work())
    assert all(isinstance(t, ServiceDown) for t in told) and "refused" in str(told[0])


def test_a_service_that_passes_the_check_and_fails_every_call_is_down() -> None:
    guard = breaker(Service(0))

    async def work() -> None:
        await fail(guard, 6)
        await guard.ready()

    with pytest.raises(ServiceDown, match="passes its check and then fails every call"):
        asyncio.run(work())


def test_what_is_refused_for_its_own_sake_opens_nothing() -> None:
    service = Service(0)
    guard = breaker(service)

    async def work() -> None:
        await fail(guard, 20, TOO_LONG)
        await guard.ready()

    asyncio.run(work())
    assert service.checks == 0


def test_a_server_that_refuses_everybody_is_checked() -> None:
    service = Service(0)
    guard = breaker(service)

    async def work() -> None:
        await fail(guard, 3, EngineError("no such model", kind="http_404", retryable=False))
        await guard.ready()

    asyncio.run(work())
    assert service.checks == 1


def test_calls_from_before_a_pause_say_nothing_of_the_service_after_it() -> None:
    guard = breaker(Service(0))

    async def work() -> None:
        slow = [await guard.ready() for _ in range(6)]
        await fail(guard)
        await guard.ready()
        for begun in slow:
            guard.failed(ERROR, begun)
        await guard.ready()

    asyncio.run(work())
    assert guard.pauses == 1


def test_a_check_that_hangs_is_cut_off_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2r_bench_pra_grpo.services.breaker.SHORTEST_TRY_S", 0.01)
    guard = Breaker("the model", lambda: asyncio.sleep(3600), opens_after=3, gives_up_after=0.05)

    async def work() -> None:
        await fail(guard)
        await guard.ready()

    with pytest.raises(ServiceDown, match="timeout: no answer to a small request"):
        asyncio.run(work())


def test_a_start_that_fails_is_tried_again_until_patience_ends() -> None:
    tries = 0

    async def start() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise UserError("busy")
        return "started"

    assert asyncio.run(outlast(start, 60.0)) == "started"
    tries = -(10**9)
    with pytest.raises(UserError, match="busy"):
        asyncio.run(outlast(start, 0.01))
