"""The `openai` engine against a server that fails in every way: an answer or an error, in bounded requests and time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest

from p2r_bench.engines.openai import OpenAIEngine
from p2r_bench.errors import EngineError, UserError
from p2r_bench.http import retries
from p2r_bench.http.retries import retry_after
from p2r_bench.types import Completion, EngineConfig
from tests.engines.requests_made import make_request
from tests.faults.server import FAULTS, ODD_USAGE, FaultyServer

KEY = "sk-very-secret"
ARGUMENTS = {"pixels": "unchecked", "timeout": "1.5", "retries": "2", "concurrency": "8"}
LONGEST_TEST_S = 120


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setattr(retries, "LONGEST_WAIT_S", 0.01)
    monkeypatch.setattr(retries, "LONGEST_ORDERED_WAIT_S", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FaultyServer().running() as server:
        yield server


def outcomes(server: FaultyServer, count: int) -> list[Completion | EngineError]:
    """Return the outcomes of so many requests at once; the start meets no fault."""
    plan, server.plan = server.plan, lambda number: None

    async def work() -> list[Any]:
        engine = OpenAIEngine(EngineConfig("m", args={"base_url": server.url, **ARGUMENTS}))
        try:
            await engine.start()
            server.posts, server.plan = 0, plan
            asked = (engine.generate(*make_request(number)) for number in range(count))
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await engine.close()

    async def bounded() -> list[Any]:
        return await asyncio.wait_for(work(), LONGEST_TEST_S)

    return asyncio.run(bounded())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_lasts_is_an_error_after_bounded_requests(
    server: FaultyServer, fault: str
) -> None:
    server.plan = lambda number: fault
    (outcome,) = outcomes(server, 1)
    assert isinstance(outcome, EngineError), outcome
    assert 1 <= server.posts <= 3
    assert KEY not in str(outcome)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_faults_among_many_requests_change_no_answer_and_raise_no_storm(
    server: FaultyServer, share: float
) -> None:
    names = [name for name in FAULTS if name not in ("hang", "drip", "endless", "gzip bomb")]
    draw = random.Random(share)
    faults = [draw.choice(names) if draw.random() < share else None for _ in range(1000)]
    server.plan = faults.__getitem__
    found = outcomes(server, 64)
    answers = [one for one in found if isinstance(one, Completion)]
    assert {one.text for one in answers} == {"B"}
    assert all(isinstance(one, (Completion, EngineError)) for one in found)
    assert len(answers) > 64 * (1 - share) ** 3 * 0.8
    assert server.posts <= 3 * 64 and server.most_active <= 8


@pytest.mark.parametrize("usage", ODD_USAGE)
def test_odd_counts_spoil_no_answer(
    server: FaultyServer, usage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAULTS, "usage", lambda handler: handler.answer(usage=usage))  # type: ignore[arg-type]
    server.plan = lambda number: "usage"
    (completion,) = outcomes(server, 1)
    assert isinstance(completion, Completion) and completion.text == "B"
    assert completion.prompt_tokens in (None, 7) and completion.output_tokens is None


@pytest.mark.parametrize("fault", ["reset", "503", "429 for years", "cut", "no JSON", "null"])
def test_one_passing_fault_at_any_probe_of_the_start_changes_nothing(
    server: FaultyServer, fault: str
) -> None:
    def capabilities() -> Any:
        async def work() -> Any:
            engine = OpenAIEngine(EngineConfig("m", args={"base_url": server.url, **ARGUMENTS}))
            try:
                await engine.start()
                return engine.capabilities()
            finally:
                await engine.close()

        server.posts = 0
        return asyncio.run(work())

    undisturbed = capabilities()
    for number in range(server.posts):
        server.plan = lambda post, at=number: fault if post == at else None  # type: ignore[misc]
        assert capabilities() == undisturbed, f"probe {number}"


@pytest.mark.parametrize(
    "listing",
    [b"", b"{", b"[]", b'{"data": 3}', b'{"data": [3]}', b"[" * 200_000, b"\xff", b'{"data": []}'],
)
def test_a_wrong_list_of_models_is_refused_with_the_way_out(
    server: FaultyServer, listing: bytes
) -> None:
    server.listing = listing
    with pytest.raises(UserError, match="check_model=no"):
        outcomes(server, 1)


def test_a_refused_connection_names_the_server_and_the_way_out() -> None:
    server = FaultyServer()
    with server.running():
        pass
    with pytest.raises(UserError, match=r"127\.0\.0\.1.*wait=600"):
        outcomes(server, 1)


def test_a_long_wait_that_a_server_orders_is_logged(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retries, "SAID_WAIT_S", 0.005)
    server.plan = lambda number: "429 for years" if number == 0 else None
    (completion,) = outcomes(server, 1)
    assert isinstance(completion, Completion)
    assert "as the server asks" in caplog.text


@pytest.mark.parametrize(
    "value", ["", "soon", "nan", "Fri, 31 Dec 99999 23:59:59 GMT", "Fri, 99 Foo 0 9:9:9", "٣x"]
)
def test_an_unreadable_retry_after_is_none(value: str) -> None:
    assert retry_after({"retry-after": value}) is None


@pytest.mark.parametrize("value", ["9" * 500, "1e400", "Fri, 31 Dec 9999 23:59:59 -1200"])
def test_a_far_retry_after_is_bounded_or_none(value: str) -> None:
    assert retry_after({"retry-after": value}) in (None, retries.LONGEST_ORDERED_WAIT_S)
