"""Text questions to a chat model behind an OpenAI-compatible server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx

from p2r_bench.errors import EngineError, JudgeError
from p2r_bench.http.body import Body
from p2r_bench.http.retries import CallError, Endpoints, endpoint_of
from p2r_bench.redaction import hidden, usable_key

PATH = "/chat/completions"
_KINDS = {"connection": "unreachable", "bad_response": "bad_reply"}


class ServiceError(JudgeError):
    """The service gave nothing usable.

    Attributes:
        kind: "timeout", "unreachable", "http_STATUS", "bad_reply" (no text, an error in place of a reply, or one
            that did not end by itself), "refused" or "cut_off" (ended at the token cap).
        retryable: The same question may have a reply later.
    """

    def __init__(self, kind: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable


class ChatService:
    """Asks with bounded concurrency, and again after failures that may pass; see `Endpoints`.

    Args:
        url: Base URL of the server, with its version path ("http://localhost:8000/v1").
        api_key: Key sent as a bearer token, or None.
        timeout: Seconds for one attempt, the whole response included.
        retries: Further attempts after a timeout, a broken connection, a passing HTTP status or a bad reply.
        concurrency: Most requests in flight.
        first_wait: Seconds before the second attempt, at most.
        transport: HTTP transport that replaces the network in tests.

    Attributes:
        url: The address of requests as it may be shown: without a password or a query's values.

    Raises:
        UserError: The key has a character that is not allowed in HTTP headers.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout: float = 120.0,
        retries: int = 5,
        concurrency: int = 16,
        first_wait: float = 1.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = endpoint_of(url, {}).url + PATH
        self._key = usable_key(api_key, "of the verifier's key")
        self._address = url
        self._options: dict[str, Any] = {
            "headers": {"Authorization": f"Bearer {self._key}"} if self._key else {},
            "concurrency": concurrency,
            "timeout_s": timeout,
            "retries": retries,
            "first_wait_s": first_wait,
            "transport": transport,
        }
        self._slots = asyncio.Semaphore(concurrency)
        self._endpoints: Endpoints | None = None

    async def ask(self, payload: dict[str, object]) -> str:
        """Return the content of the first choice, a complete reply.

        Args:
            payload: Body of a chat completion request.

        Raises:
            ServiceError: No attempt brought a reply, or the reply is cut off or refused.
        """
        async with self._slots:
            if self._endpoints is None:
                self._endpoints = Endpoints((self._address,), **self._options)
            body = Body([json.dumps(payload).encode()])
            try:
                text, _ = await self._endpoints.post(PATH, body, self._content)
            except EngineError as error:
                status = error.status if isinstance(error, CallError) else None
                kind = f"http_{status}" if status else _KINDS.get(error.kind, error.kind)
                raise ServiceError(kind, str(error)) from error
        return text

    async def close(self) -> None:
        """Close the connections; safe to call twice."""
        endpoints, self._endpoints = self._endpoints, None
        if endpoints is not None:
            await endpoints.close()

    def _content(self, answer: Any) -> str:
        """Return the text of a server's answer.

        `finish_reason` may be absent; servers leave it out. Other words for "stop" are not accepted.
        """
        text = json.dumps(answer, ensure_ascii=False)
        shown = hidden(text, filter(None, [self._key]))[:300]
        try:
            choice = {} if answer.get("error") else answer["choices"][0]
            content, reason = choice["message"].get("content"), choice.get("finish_reason")
        except (LookupError, TypeError, AttributeError):
            content = reason = None
        match reason:
            case "length":
                raise _final("cut_off", f"{self.url}: the reply ended at the token cap: {shown}")
            case "content_filter":
                raise _final("refused", f"{self.url}: the server refused: {shown}")
            case None | "stop" if isinstance(content, str) and content.strip():
                return content
        problem = f"finish_reason {reason!r}" if reason not in (None, "stop") else "no text"
        raise EngineError(f"{self.url}: {problem} in {shown}", kind="bad_response")


def _final(kind: str, message: str) -> EngineError:
    return EngineError(message, kind=kind, retryable=False)
