"""The verifier's way to its server: retries what may pass, and says what did not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from p2r_bench.http.retries import LONGEST_ORDERED_WAIT_S
from p2r_bench.judges.chat_service import ChatService, ServiceError

URL = "http://verifier.test/v1"
Step = httpx.Response | Exception


def reply(text: str, **choice: Any) -> httpx.Response:
    return httpx.Response(200, json={"choices": [{"message": {"content": text}, **choice}]})


class Server:
    """Answers with the given steps in turn, the last one again and again."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise step
        return step


def ask(server: Callable[[httpx.Request], Any], **options: Any) -> str:
    async def work() -> str:
        service = ChatService(
            URL, transport=httpx.MockTransport(server), **{"first_wait": 0.0, **options}
        )
        try:
            return await service.ask({"model": "m"})
        finally:
            await service.close()

    return asyncio.run(work())


def test_it_posts_to_the_chat_completions_of_the_base_url() -> None:
    server = Server(reply("hello"))
    assert ask(server, api_key="secret") == "hello"
    assert str(server.requests[0].url) == f"{URL}/chat/completions"
    assert server.requests[0].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    "failure",
    [
        httpx.Response(429),
        httpx.Response(500),
        httpx.Response(503),
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("refused"),
        reply(""),
        reply("VERDICT", finish_reason="abort"),
        httpx.Response(200, json={"choices": None}),
        httpx.Response(200, json={"error": {"message": "overloaded"}}),
    ],
)
def test_a_failure_that_may_pass_is_tried_again(failure: Step) -> None:
    server = Server(failure, failure, reply("at last"))
    assert ask(server, retries=2) == "at last"
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (httpx.Response(500, text="broken"), "http_500"),
        (httpx.ReadTimeout("slow"), "timeout"),
        (httpx.ConnectError("refused"), "unreachable"),
    ],
)
def test_a_lasting_failure_is_named_after_the_last_attempt(failure: Step, kind: str) -> None:
    server = Server(failure)
    with pytest.raises(ServiceError) as caught:
        ask(server, retries=2)
    assert caught.value.kind == kind
    assert URL in str(caught.value)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_refusal_is_not_tried_again(status: int) -> None:
    server = Server(httpx.Response(status, text="no such model"))
    with pytest.raises(ServiceError, match="no such model") as caught:
        ask(server, retries=5)
    assert caught.value.kind == f"http_{status}"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [b"not json", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"content": null}}]}'],
)
def test_a_reply_without_text_is_an_error(body: bytes) -> None:
    with pytest.raises(ServiceError) as caught:
        ask(Server(httpx.Response(200, content=body)), retries=1)
    assert caught.value.kind == "bad_reply"


@pytest.mark.parametrize(("reason", "kind"), [("length", "cut_off"), ("content_filter", "refused")])
def test_a_reply_that_will_not_get_better_is_not_tried_again(reason: str, kind: str) -> None:
    server = Server(reply("VERDICT: COR", finish_reason=reason))
    with pytest.raises(ServiceError) as caught:
        ask(server)
    assert (caught.value.kind, len(server.requests)) == (kind, 1)


def waits(monkeypatch: pytest.MonkeyPatch, *steps: Step, **options: Any) -> list[float]:
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr("p2r_bench.http.retries.asyncio.sleep", sleep)
    ask(Server(*steps, reply("done")), **options)
    return found


def test_waits_grow_and_vary(monkeypatch: pytest.MonkeyPatch) -> None:
    found = waits(monkeypatch, *[httpx.Response(500)] * 3, retries=3, first_wait=2.0)
    for attempt, seconds in enumerate(found):
        assert 0.0 <= seconds <= 2.0 * 2**attempt
    assert len(set(found)) == 3


def test_retry_after_is_honoured_up_to_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    soon = httpx.Response(429, headers={"retry-after": "7"})
    late = httpx.Response(503, headers={"retry-after": "Fri, 31 Dec 2100 23:59:59 GMT"})
    odd = httpx.Response(503, headers={"retry-after": "soon"})
    assert waits(monkeypatch, soon, late, odd, retries=3) == [7.0, LONGEST_ORDERED_WAIT_S, 0.0]


def test_no_more_requests_are_in_flight_than_allowed() -> None:
    flying = most = 0

    async def server(request: httpx.Request) -> httpx.Response:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.001)
        flying -= 1
        return reply("done")

    async def work() -> None:
        service = ChatService(URL, concurrency=3, transport=httpx.MockTransport(server))
        await asyncio.gather(*(service.ask({}) for _ in range(12)))
        await service.close()

    asyncio.run(work())
    assert most == 3
