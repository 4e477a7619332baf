"""HTTP calls to one or several servers that serve the same model: whom to ask, when to ask again."""

from __future__ import annotations

import asyncio
import email.utils
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from p2r_bench.engines.http_body import Body
from p2r_bench.errors import EngineError

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
LONGEST_WAIT_S = 60.0
LONGEST_ORDERED_WAIT_S = 600.0
_TOO_LONG = (
    "maximum context length",
    "context length",
    "max_model_len",
    "too long",
    "longer than the maximum",
)


@dataclass
class Endpoint:
    """One server.

    Attributes:
        url: Base URL, with its `/v1`.
        in_flight: Requests it is working on.
        rests_until: Not asked before this (`time.monotonic`) while others can be.
    """

    url: str
    in_flight: int = 0
    failures: int = 0
    rests_until: float = 0.0

    def failed(self) -> None:
        self.failures += 1
        self.rests_until = time.monotonic() + min(LONGEST_WAIT_S, 2.0 ** min(self.failures, 6) / 2)

    def answered(self) -> None:
        self.failures, self.rests_until = 0, 0.0


class Endpoints:
    """Asks the least busy server; asks again after failures that may pass, elsewhere if possible.

    Waits grow exponentially with full jitter from `first_wait_s`; a `Retry-After` of the server is
    obeyed instead.

    Args:
        retries: How often a failed call is repeated.
        timeout_s: Seconds to wait for an answer.
    """

    def __init__(
        self,
        urls: tuple[str, ...],
        *,
        key: str | None,
        concurrency: int,
        timeout_s: float,
        retries: int,
        first_wait_s: float = 0.5,
    ) -> None:
        self.all = [Endpoint(base_url(url)) for url in urls]
        self._retries = retries
        self._first_wait_s = first_wait_s
        self._client = httpx.AsyncClient(
            headers={"Content-Type": "application/json"}
            | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=httpx.Timeout(timeout_s, connect=min(10.0, timeout_s), pool=None),
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
        )

    async def post(self, path: str, body: Body) -> tuple[Any, Endpoint]:
        """The JSON that a server answers, and which server.

        Raises:
            EngineError: All tries failed, or the failure is one that another try would not change.
        """
        last: Endpoint | None = None
        for attempt in range(self._retries + 1):
            endpoint = self._choose(last)
            endpoint.in_flight += 1
            try:
                answer = await self.call(endpoint, "POST", path, body)
            except CallError as error:
                if not error.retryable or attempt == self._retries:
                    raise
                wait = error.retry_after_s
            else:
                endpoint.answered()
                return answer, endpoint
            finally:
                endpoint.in_flight -= 1
            endpoint.failed()
            last = endpoint
            if wait is None:
                wait = random.uniform(0, min(LONGEST_WAIT_S, self._first_wait_s * 2**attempt))
            elif self._someone_else(endpoint):
                endpoint.rests_until = time.monotonic() + wait
                wait = 0.0
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def call(
        self, endpoint: Endpoint, method: str, path: str, body: Body | None = None
    ) -> Any:
        """One HTTP call, without retries.

        Raises:
            CallError: It failed.
        """
        where = endpoint.url + path
        try:
            headers = None if body is None else {"Content-Length": str(len(body))}
            response = await self._client.request(method, where, content=body, headers=headers)
        except httpx.TimeoutException as error:
            raise CallError(
                f"{where}: no answer in time ({type(error).__name__})", kind="timeout"
            ) from error
        except httpx.HTTPError as error:
            raise CallError(
                f"{where}: {type(error).__name__}: {error}", kind="connection"
            ) from error
        if response.status_code != 200:
            raise _refusal(where, response)
        try:
            return response.json()
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CallError(
                f"{where}: the answer is no JSON: {response.text[:200]!r}", kind="bad_response"
            ) from error

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
    """An HTTP call failed.

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


def base_url(url: str) -> str:
    """A server's base URL: `/v1` is added where there is no path."""
    url = url.rstrip("/")
    if "://" not in url:
        url = f"http://{url}"
    return url if url.count("/") > 2 else f"{url}/v1"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait according to `Retry-After`, in seconds or as a date; at most ten minutes."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), LONGEST_ORDERED_WAIT_S) if seconds == seconds else None


def _refusal(where: str, response: httpx.Response) -> CallError:
    status, text = response.status_code, response.text
    try:
        detail = response.json()
        for name in ("error", "message", "detail"):
            if isinstance(detail, dict) and detail.get(name):
                detail = detail[name]
        text = detail if isinstance(detail, str) else json.dumps(detail)
    except ValueError:
        pass  # not JSON: the text as it is
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
