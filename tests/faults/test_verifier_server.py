"""The verifier's client against a server that fails in every way: no failure is a verdict, and no key is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from p2r_bench.errors import UserError
from p2r_bench.http import retries
from p2r_bench.judges.chat_service import ChatService, ServiceError
from p2r_bench.judges.verifier import Verifier
from tests.faults.server import FAULTS, FaultyServer

KEY = "sk-very-secret"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setattr(retries, "LONGEST_ORDERED_WAIT_S", 0.01)
    with FaultyServer().running() as server:
        yield server


def ask(url: str, key: str = KEY) -> str:
    async def work() -> str:
        service = ChatService(url, key, timeout=1.5, retries=1, first_wait=0.0)
        try:
            return await asyncio.wait_for(service.ask({"model": "m"}), 60)
        finally:
            await service.close()

    return asyncio.run(work())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_an_error_that_shows_no_key(server: FaultyServer, fault: str) -> None:
    server.plan = lambda number: fault
    url = server.url.replace("http://", "http://user:password123@") + "?token=hush"
    with pytest.raises(ServiceError) as caught:
        ask(url)
    assert 1 <= server.posts <= 2
    for secret in (KEY, "password123", "hush"):
        assert secret not in str(caught.value)


def test_the_next_attempt_after_a_passing_fault_is_the_reply(server: FaultyServer) -> None:
    for fault in ("reset", "cut", "drip", "gzip bomb", "503", "429 until 9999", "deep JSON"):
        start = server.posts
        server.plan = lambda number, f=fault, s=start: f if number == s else None  # type: ignore[misc]
        assert ask(server.url, f" {KEY}\r\n") == "B"
        assert server.posts == start + 2


def test_a_key_is_stripped_and_checked_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def checked(key: str) -> None:
        monkeypatch.setenv("THE_KEY", key)
        Verifier("http://localhost/v1", "m", "THE_KEY").check()

    checked(f"{KEY}\n")
    with pytest.raises(UserError, match=r"THE_KEY.*not set"):
        checked(" \n")
    for key in ("sk-secret\u00e9", "sk-\nsecret"):
        with pytest.raises(UserError, match=r"THE_KEY holds U\+") as caught:
            checked(key)
        assert "secret" not in str(caught.value)


def test_an_unusable_url_is_refused_without_its_password() -> None:
    for url in ("ftp://user:password123@host/v1", "http://", "http://[::1", "localhost:8000/v1"):
        with pytest.raises(UserError, match="not an http") as caught:
            Verifier(url, "m").check()
        assert "password123" not in str(caught.value)
