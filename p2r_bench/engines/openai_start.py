"""Start of the `openai` engine: wait for a server, look the model up, and find the server's capabilities."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from p2r_bench.engines.openai_access import way_out
from p2r_bench.engines.openai_answer import ReplyModel, parse_answer
from p2r_bench.engines.openai_format import EXTRA_FIELDS, STANDARD_FIELDS
from p2r_bench.engines.server_probe import Found, probe
from p2r_bench.errors import EngineError, UserError
from p2r_bench.families import DEFAULT, find_family
from p2r_bench.families.smart_resize import SmartResize
from p2r_bench.http.body import Body
from p2r_bench.http.retries import Endpoint, Endpoints, Patience
from p2r_bench.types import Completion, Request

if TYPE_CHECKING:
    from PIL import Image

    from p2r_bench.engines.openai import Arguments

log = logging.getLogger(__name__)

T = TypeVar("T")

LIFE_SIGN_S = 15.0

MakeBody = Callable[[Request, Sequence["Image.Image"], bool], Awaitable[Body]]
"""Function that makes a request's body. Its last argument is True to include `openai_format.EXTRA_FIELDS`."""


@dataclass
class Start:
    """Requests to the servers during one start of the engine.

    Attributes:
        body: Function that makes a request's body.
        reply_model: Check that all replies name the same model.
        family: Name of the model family, or None for the default one.
        max_images: Images that one request must be able to hold.
    """

    endpoints: Endpoints
    arguments: Arguments
    model: str
    body: MakeBody
    max_images: int
    reply_model: ReplyModel
    family: str | None

    def __post_init__(self) -> None:
        self._until = time.monotonic() + self.arguments.wait
        self._said = float("-inf")

    async def look_up(self, endpoint: Endpoint) -> Mapping[str, Any]:
        """Return the server's entry for the model, or an empty one if the check is switched off.

        Raises:
            UserError: The server cannot be reached, or does not list the model.
        """
        if not self.arguments.check_model:
            return {}
        advice = "--engine-arg check_model=no trusts the name."
        try:
            entries = await self._ask(endpoint, "GET", "/models", None, _entries)
        except EngineError as error:
            if error.status in (404, 405, 501) or error.kind == "bad_response":
                raise UserError(
                    f"{endpoint.url} has no list of models: {error}. {advice}"
                ) from error
            raise self._refusal(endpoint, "cannot be used", error) from error
        if self.model not in entries:
            names = ", ".join(sorted(entries)) or "none"
            raise UserError(
                f"--model {self.model}: not served by {endpoint.url}, which lists: {names}. {advice}"
            )
        return entries[self.model]

    async def find(self, endpoint: Endpoint) -> Found:
        """Return the server's capabilities; see `server_probe.probe`.

        Raises:
            UserError: The server does not answer, or cannot serve this run.
        """

        def read(answer: Any) -> Completion:
            self.reply_model.compare(answer)
            return parse_answer(answer)[0]

        async def send(request: Request, images: Sequence[Image.Image], extra: bool) -> Completion:
            body = await self.body(request, images, extra)
            return await self._ask(endpoint, "POST", "/chat/completions", body, read)

        try:
            return await probe(
                send,
                where=endpoint.url,
                max_images=self.max_images,
                family=self.sized_family(),
                max_pixels=self.arguments.max_pixels,
            )
        except EngineError as error:
            raise self._refusal(endpoint, "does not answer a simple request", error) from error

    def sized_family(self) -> SmartResize | None:
        """Return the family whose counts of visual tokens are checked, or None without a check."""
        if self.arguments.pixels == "unchecked":
            return None
        family = find_family(self.family or DEFAULT)
        return family if isinstance(family, SmartResize) else None

    async def _ask(
        self,
        endpoint: Endpoint,
        method: str,
        path: str,
        body: Body | None,
        read: Callable[[Any], T],
    ) -> T:
        patience = Patience(self._until, lambda error: self._life_sign(endpoint, error))
        return await self.endpoints.ask(endpoint, method, path, body, read, patience)

    def _life_sign(self, endpoint: Endpoint, error: EngineError) -> None:
        now = time.monotonic()
        if now - self._said >= LIFE_SIGN_S:
            self._said = now
            left = max(0.0, self._until - now)
            log.warning("%s is not ready; waiting up to %.0f s (%s)", endpoint.url, left, error)

    def _refusal(self, endpoint: Endpoint, what: str, error: EngineError) -> UserError:
        sent = (STANDARD_FIELDS | EXTRA_FIELDS) - set(self.arguments.omit)
        advice = way_out(error, self.arguments, sent)
        return UserError(f"{endpoint.url} {what}: {error}{'. ' if advice else ''}{advice}")


def _entries(answer: Any) -> dict[str, Mapping[str, Any]]:
    """Return the entries of a list of models by id."""
    entries = answer.get("data") if isinstance(answer, Mapping) else None
    if not isinstance(entries, list) or not all(
        isinstance(entry, Mapping) and "id" in entry for entry in entries
    ):
        raise EngineError(f"this is no list of models: {str(answer)[:200]}", kind="bad_response")
    return {str(entry["id"]): entry for entry in entries}
