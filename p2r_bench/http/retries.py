"""HTTP calls to servers of one model, with retries and fail-over."""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import httpx

from p2r_bench.errors import EngineError
from p2r_bench.http.body import Body
from p2r_bench.redaction import hidden, redacted_url

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
LOADING = frozenset({502, 503, 504})
"""HTTP statuses of a server that is still loading its model, or of a proxy in front of it."""
LONGEST_WAIT_S = 60.0
LONGEST_ORDERED_WAIT_S = 600.0
LOADING_WAIT_S = 5.0
LARGEST_ANSWER = 64 << 20
"""Most bytes of an answer; a larger one is an error."""
_TOO_LONG = (
    "maximum context length",
    "context length",
    "max_model_len",
    "too long",
    "longer than the maximum",
)

SAID_WAIT_S = 30.0
"""Shortest wait ordered by a server that is logged, in seconds."""

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass
class Endpoint:
    """One server.

    Attributes:
        address: Base URL, with its `/v1`, without a query.
        params: The query of every call.
        url: Base URL for output and storage, without a password or a query's values.
        in_flight: Number of requests in progress.
        rests_until: Time (`time.monotonic`) until which other servers are preferred.
        said_until: Time until which an ordered wait has been logged.
        reached: True once the server has answered.
    """

    address: str
    params: Mapping[str, str] = field(default_factory=dict)
    in_flight: int = 0
    failures: int = 0
    rests_until: float = 0.0
    said_until: float = 0.0
    reached: bool = False

    @property
    def url(self) -> str:
        return redacted_url(self.address)

    def failed(self) -> None:
        self.failures += 1
        self.rests_until = time.monotonic() + min(LONGEST_WAIT_S, 2.0 ** min(self.failures, 6) / 2)

    def answered(self) -> None:
        self.failures, self.rests_until = 0, 0.0


@dataclass
class Patience:
    """Limit of the wait for servers that are still loading.

    Attributes:
        until: Time (`time.monotonic`) until which a server that cannot be reached or is loading is asked again.
        notify: Function called with each failure of a server that is not ready.
    """

    until: float
    notify: Callable[[EngineError], None]


class Endpoints:
    """Client of several servers. A call goes to the least busy one; temporary failures are repeated, on another if
    possible.

    Waits grow exponentially with full jitter from `first_wait_s`; a `Retry-After` of the server is
    obeyed instead.

    Args:
        headers: Headers of every call.
        params: Query of every call, beside that of a server's own URL.
        retries: Most repetitions of a failed call.
        timeout_s: Seconds for a whole answer.
        transport: HTTP transport that replaces the network in tests.
    """

    def __init__(
        self,
        urls: tuple[str, ...],
        *,
        headers: Mapping[str, str],
        concurrency: int,
        timeout_s: float,
        retries: int,
        params: Mapping[str, str] | None = None,
        first_wait_s: float = 0.5,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.all = [endpoint_of(url, params or {}) for url in urls]
        self._retries = retries
        self._first_wait_s = first_wait_s
        self._timeout_s = timeout_s
        passwords = [word for url in urls if (word := urlsplit(url).password)]
        self._secrets = [*_secrets(headers.values()), *passwords]
        self._client = httpx.AsyncClient(
            headers={"Content-Type": "application/json", **headers},
            timeout=httpx.Timeout(timeout_s, connect=min(10.0, timeout_s), pool=None),
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            transport=transport,
        )

    async def post(self, path: str, body: Body, read: Callable[[Any], T]) -> tuple[T, Endpoint]:
        """Return the result of `read` on a server's JSON answer, and the server.

        Args:
            read: Function that raises EngineError for an unusable answer; the call is repeated if the error is
                retryable.

        Raises:
            EngineError: All tries failed, or another try would fail as well.
        """
        return await self._repeat(self._choose, "POST", path, body, read, None)

    async def ask(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        body: Body | None,
        read: Callable[[Any], T],
        patience: Patience | None = None,
    ) -> T:
        """Return the result of `read` on one server's JSON answer. `patience` waits for a server that is still loading.

        Without it, a server that has never been reached and refuses the connection is not asked again.

        Raises:
            EngineError: As `post`.
        """
        result, _ = await self._repeat(
            lambda last: endpoint, method, path, body, read, patience or Patience(0.0, _ignore)
        )
        return result

    async def _repeat(
        self,
        choose: Callable[[Endpoint | None], Endpoint],
        method: str,
        path: str,
        body: Body | None,
        read: Callable[[Any], T],
        patience: Patience | None,
    ) -> tuple[T, Endpoint]:
        last: Endpoint | None = None
        attempt = 0
        while True:
            endpoint = choose(last)
            endpoint.in_flight += 1
            try:
                result = read(await self._call(endpoint, method, path, body))
            except EngineError as error:
                failure = error
            except RecursionError:
                failure = CallError(f"{endpoint.url}{path}: deep JSON", kind="bad_response")
            else:
                endpoint.answered()
                return result, endpoint
            finally:
                endpoint.in_flight -= 1
            last = endpoint
            if patience is not None and _not_up(failure) and time.monotonic() < patience.until:
                patience.notify(failure)
                await asyncio.sleep(min(LOADING_WAIT_S, self._first_wait_s * 2 ** min(attempt, 6)))
                attempt += 1
                continue
            never_reached = patience is not None and not endpoint.reached
            if not failure.retryable or attempt >= self._retries or never_reached:
                raise failure
            await asyncio.sleep(self._wait(endpoint, failure, attempt))
            attempt += 1

    def _wait(self, endpoint: Endpoint, failure: EngineError, attempt: int) -> float:
        """Return the seconds until the next try, which may go to another server."""
        endpoint.failed()
        ordered = failure.retry_after_s if isinstance(failure, CallError) else None
        if ordered is None:
            return random.uniform(
                0, min(LONGEST_WAIT_S, self._first_wait_s * 2 ** min(attempt, 20))
            )
        if ordered >= SAID_WAIT_S and endpoint.said_until < time.monotonic():
            endpoint.said_until = time.monotonic() + ordered
            log.warning("waiting %.0f s, as the server asks (Retry-After): %s", ordered, failure)
        if self._someone_else(endpoint):
            endpoint.rests_until = time.monotonic() + ordered
            return 0.0
        return ordered

    async def _call(
        self, endpoint: Endpoint, method: str, path: str, body: Body | None = None
    ) -> Any:
        """Return the JSON answer of one HTTP call, without retries.

        Raises:
            CallError: The call failed.
        """
        where = endpoint.url + path
        try:
            headers = None if body is None else {"Content-Length": str(len(body))}
            # httpx bounds each read, and a server that sends a byte now and then never ends.
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream(
                    method,
                    endpoint.address + path,
                    content=body,
                    params=endpoint.params or None,
                    headers=headers,
                ) as response,
            ):
                endpoint.reached = True
                content = await self._content(response, where)
        except (httpx.TimeoutException, TimeoutError) as error:
            raise CallError(
                f"{where}: no whole answer in time ({type(error).__name__}, {self._timeout_s:g} s)",
                kind="timeout",
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            detail = f": {hidden(str(error), self._secrets)}" if str(error) else ""
            raise CallError(
                f"{where}: {type(error).__name__}{detail}", kind="connection"
            ) from error
        if response.status_code != 200:
            raise _refusal(where, response, content, self._secrets)
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:  # bad UTF-8 included
            start = hidden(content[:200].decode(errors="replace"), self._secrets)
            raise CallError(
                f"{where}: the answer is no JSON: {start!r}",
                kind="bad_response",
            ) from error

    async def _content(self, response: httpx.Response, where: str) -> bytes:
        content = bytearray()
        async for piece in response.aiter_bytes():
            content += piece
            if len(content) > LARGEST_ANSWER:
                raise CallError(
                    f"{where}: the answer is longer than {LARGEST_ANSWER} bytes",
                    kind="bad_response",
                )
        return bytes(content)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _choose(self, last: Endpoint | None) -> Endpoint:
        now = time.monotonic()
        return min(self.all, key=lambda e: (max(e.rests_until - now, 0.0), e is last, e.in_flight))

    def _someone_else(self, endpoint: Endpoint) -> bool:
        now = time.monotonic()
        return any(e is not endpoint and e.rests_until <= now for e in self.all)


class CallError(EngineError):
    """Error of a failed HTTP call.

    Attributes:
        status: HTTP status, or None when there was no answer.
        retry_after_s: Seconds after which the server wants to be asked again, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        retryable: bool = True,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, kind=kind, retryable=retryable)
        self.status = status
        self.retry_after_s = retry_after_s


def endpoint_of(url: str, params: Mapping[str, str]) -> Endpoint:
    """Return the server at a base URL, with the URL's own query added to every call."""
    parts = urlsplit(base_url(url))
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Endpoint(urlunsplit(parts._replace(query="", fragment="")), {**query, **params})


def base_url(url: str) -> str:
    """Return a server's base URL, with `/v1` added to a URL without a path."""
    url = url.strip()
    parts = urlsplit(url if "://" in url else f"http://{url}")
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") or "/v1"))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait by `Retry-After` (seconds or a date), at most ten minutes."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_ORDERED_WAIT_S) if seconds == seconds else None


def _ignore(error: EngineError) -> None: ...


def _not_up(error: EngineError) -> bool:
    return error.kind == "connection" or (isinstance(error, CallError) and error.status in LOADING)


def _secrets(headers: Iterable[str]) -> list[str]:
    """Return the secrets in header values that errors must not show: long words, such as the key after "Bearer"."""
    return [word for value in headers for word in value.split() if len(word) >= _SECRET_LENGTH]


_SECRET_LENGTH = 8


def _refusal(
    where: str, response: httpx.Response, content: bytes, secrets: Sequence[str]
) -> CallError:
    status, text = response.status_code, content.decode(errors="replace")
    try:
        detail = json.loads(content)
        for name in ("error", "message", "detail"):
            if isinstance(detail, dict) and detail.get(name):
                detail = detail[name]
        text = detail if isinstance(detail, str) else json.dumps(detail)
    except (ValueError, RecursionError):
        pass  # not JSON: the text as it is
    text = hidden(text, secrets)
    kind = f"http_{status}"
    if status in (400, 413, 422) and any(words in text.lower() for words in _TOO_LONG):
        kind = "too_long"
    return CallError(
        f"{where}: {status}: {text[:500]}",
        kind=kind,
        retryable=status in RETRIED,
        status=status,
        retry_after_s=retry_after(response.headers),
    )
