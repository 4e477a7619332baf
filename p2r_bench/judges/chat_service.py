"""One text question at a time to a chat model behind an OpenAI-compatible server."""

from __future__ import annotations

import asyncio
import json
import random
import time
from email.utils import parsedate_to_datetime

import httpx

from p2r_bench.errors import JudgeError
from p2r_bench.redaction import hidden, redacted_url, usable_key

RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_WAIT = 60.0
LARGEST_REPLY = 8 << 20
"""Bytes of a response, beyond which it is given up."""


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
    """Asks with bounded concurrency, and again after failures that may pass.

    Args:
        url: Base URL of the server, with its version path ("http://localhost:8000/v1").
        api_key: Sent as a bearer token, or None.
        timeout: Seconds for one attempt, the whole response included.
        retries: Further attempts after a timeout, a broken connection, one of RETRIED_STATUSES or a bad reply,
            with exponential backoff and jitter, or after the server's Retry-After (at most a minute).
        concurrency: Most requests in flight.
        first_wait: Seconds before the second attempt.
        transport: Replaces the network, for tests.

    Attributes:
        url: What is posted to, as it may be shown: without a password or a query's values.

    Raises:
        UserError: No header can hold the key.
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
        base = httpx.URL(url)
        self._address = base.copy_with(path=f"{base.path.rstrip('/')}/chat/completions")
        self.url = redacted_url(str(self._address))
        key = usable_key(api_key, "of the verifier's key")
        self._secrets = [secret for secret in (key, base.password) if secret]
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout = timeout
        self._retries = retries
        self._places = asyncio.Semaphore(concurrency)
        self._first_wait = first_wait
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def ask(self, payload: dict[str, object]) -> str:
        """Return the content of the first choice, a complete reply.

        Args:
            payload: Body of a chat completion request.

        Raises:
            ServiceError: No attempt brought a reply, or the reply is cut off or refused.
        """
        async with self._places:
            for attempt in range(self._retries + 1):
                try:
                    return await self._attempt(payload)
                except _Passing as failure:
                    if attempt == self._retries:
                        raise failure.error from failure.__cause__
                    wait = self._first_wait * 2**attempt * random.uniform(0.5, 1.0)
                    await asyncio.sleep(min(max(wait, failure.wait), LONGEST_WAIT))
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Close the connections; safe to call twice."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _attempt(self, payload: dict[str, object]) -> str:
        if self._client is None:
            self._client = httpx.AsyncClient(
                headers=self._headers, timeout=self._timeout, transport=self._transport
            )
        try:
            # httpx bounds each read, and a server that sends a byte now and then never ends.
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("POST", self._address, json=payload) as response,
            ):
                body = await self._body(response)
        except (httpx.TimeoutException, TimeoutError) as error:
            raise _Passing("timeout", f"{self.url}: no reply in {self._timeout:g} s") from error
        except httpx.HTTPError as error:
            reason = hidden(str(error), self._secrets) or type(error).__name__
            raise _Passing("unreachable", f"{self.url}: {reason}") from error
        text = hidden(body.decode(errors="replace"), self._secrets)
        if response.is_success:
            return self._content(text)
        kind, message = f"http_{response.status_code}", f"{self.url}: {text[:300]}"
        if response.status_code in RETRIED_STATUSES:
            raise _Passing(kind, message, _retry_after(response))
        raise ServiceError(kind, message)

    async def _body(self, response: httpx.Response) -> bytes:
        body = bytearray()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > LARGEST_REPLY:
                message = f"{self.url}: the response is longer than {LARGEST_REPLY} bytes"
                raise _Passing("bad_reply", message)
        return bytes(body)

    def _content(self, text: str) -> str:
        """Text of the reply in a successful response.

        `finish_reason` may be absent; servers leave it out. Other words for "stop" are not taken for it.
        """
        try:
            answer = json.loads(text)
            choice = {} if answer.get("error") else answer["choices"][0]
            content, reason = choice["message"].get("content"), choice.get("finish_reason")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            content = reason = None
        if reason == "length":
            message = (
                f"{self.url}: the reply ended at the token cap: …{str(content or '')[-200:]!r}"
            )
            raise ServiceError("cut_off", message)
        if reason == "content_filter":
            raise ServiceError("refused", f"{self.url}: the server refused: {text[:300]}")
        if reason not in (None, "stop"):
            message = f"{self.url}: finish_reason is {reason!r}: {text[:300]}"
            raise _Passing("bad_reply", message)
        if not isinstance(content, str) or not content.strip():
            raise _Passing("bad_reply", f"{self.url}: no text in {text[:300]}")
        return content


class _Passing(Exception):
    """A failure after which another attempt makes sense, not before `wait` seconds."""

    def __init__(self, kind: str, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.error = ServiceError(kind, message, retryable=True)
        self.wait = wait


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the server asks to wait; 0 when it does not say, or says it unreadably."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return 0.0
