"""The scorer `verifier`: a language model decides if a free answer has the meaning of the reference."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Protocol, get_args

import httpx

from p2r_bench.adapter import without_thoughts
from p2r_bench.errors import UserError
from p2r_bench.judges.chat_service import ChatService, ServiceError
from p2r_bench.judges.match import Match
from p2r_bench.judges.reply_cache import ReplyCache, default_folder
from p2r_bench.judges.verdicts import decided, undecided
from p2r_bench.redaction import redacted_url, usable_key
from p2r_bench.types import AnswerForm, Prediction, Sample, Verdict, digest_of

__all__ = ["ChatModel", "ServiceError", "Verifier", "parse_verdict"]

URL_VARIABLE = "P2R_BENCH_VERIFIER_URL"
MODEL_VARIABLE = "P2R_BENCH_VERIFIER_MODEL"

_VERDICT_LINE = re.compile(r"\bverdict\W+(correct|incorrect)\b", re.IGNORECASE)
_OPEN = re.compile(
    r"[^\w\n]*(?:\?|(?:(?:or|and|vs)\b[^\w\n]*)?(?:not\b[^\w\n]*)?(?:in)?correct\b)", re.IGNORECASE
)
_VERDICT_ALONE = re.compile(r"\W*(correct|incorrect)[^\w?]*", re.IGNORECASE)
_REFUSED = ("http_400", "http_422")
_logger = logging.getLogger(__name__)


def parse_verdict(reply: str) -> bool | None:
    """Return True for CORRECT, False for INCORRECT, from verdict lines or the only word; None without a verdict.

    Thoughts are not read. A question ("CORRECT?"), a choice of both ("CORRECT or INCORRECT") and contradicting verdict
    lines are no verdict.
    """
    reply = without_thoughts(reply)
    said: set[str] = set()
    for line in _VERDICT_LINE.finditer(reply):
        if _OPEN.match(reply, line.end()):
            return None
        said.add(line[1].lower())
    if not said and (alone := _VERDICT_ALONE.fullmatch(reply)):
        said = {alone[1].lower()}
    return said == {"correct"} if len(said) == 1 else None


class ChatModel(Protocol):
    """Asks a chat model; see `ChatService`."""

    async def ask(self, payload: dict[str, object]) -> str: ...

    async def close(self) -> None: ...


class Verifier:
    """Free answers and captions by a verifier model behind an OpenAI-compatible server.

    The model answers at temperature 0. A request that fails after all retries, a truncated reply, and a reply without a
    verdict after its thought give a verdict with status "error", never a wrong one, and are not cached. Replies are
    cached on disk by model, prompt, sampling, `thinking`, version, question, reference and answer. `params_hash` covers
    the first five of these, not the server's address. A choice question is sent with its options.

    Args:
        url: Base URL of the server, such as "http://localhost:8000/v1". None takes
            $P2R_BENCH_VERIFIER_URL.
        model: Name of the model on that server. None takes $P2R_BENCH_VERIFIER_MODEL.
        api_key: Name of the environment variable that holds the key, or None for no key.
        cache_dir: Folder of the cached replies. None takes `p2r-bench/verifier` in the user's cache.
        forms: Answer forms to judge, separated by commas.
        max_tokens: Most tokens of a reply; a reasoning verifier needs more.
        thinking: "off" asks the server to switch thinking off (`chat_template_kwargs`), and asks again without
            it if the server answers 400 or 422; "on" sends nothing.
        timeout: Seconds for one attempt.
        retries: Further attempts after a failure that may pass.
        concurrency: Most requests in flight.
        transport: HTTP transport that replaces the network in tests.

    Raises:
        UserError: A parameter is not usable.
    """

    scorer = "verifier"
    version = "2"

    def __init__(
        self,
        url: str | None = None,
        model: str | None = None,
        api_key: str | None = None,
        cache_dir: str | Path | None = None,
        forms: str = "free,caption",
        max_tokens: int | str = 1024,
        thinking: str = "off",
        timeout: float | str = 120,
        retries: int | str = 5,
        concurrency: int | str = 16,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url or os.environ.get(URL_VARIABLE)
        self.model = model or os.environ.get(MODEL_VARIABLE)
        self.forms = _forms(forms)
        self._api_key = api_key
        self._max_tokens = int(_number("max_tokens", max_tokens, 1))
        self._timeout = _number("timeout", timeout, 0.1)
        self._retries = int(_number("retries", retries, 0))
        self.concurrency = int(_number("concurrency", concurrency, 1))
        self._transport = transport
        self._cache = ReplyCache(Path(cache_dir) if cache_dir else default_folder())
        self._prompt = files("p2r_bench.judges").joinpath("verifier_prompt.txt").read_text("utf-8")
        self._sampling: dict[str, Any] = {
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": self._max_tokens,
        }
        if thinking not in ("off", "on"):
            raise UserError(f'verifier: thinking is {thinking!r}; it must be "off" or "on"')
        self._switches: dict[str, Any] = (
            {"chat_template_kwargs": {"enable_thinking": False}} if thinking == "off" else {}
        )
        self.prompt_hash = digest_of(
            {
                "version": self.version,
                "prompt": self._prompt,
                "sampling": self._sampling,
                "thinking": thinking,
            }
        )
        self.params_hash = digest_of({"model": self.model, "prompt": self.prompt_hash})

    def check(self) -> None:
        """Check that server, model, key and cache are usable.

        Raises:
            UserError: URL or model is missing or unusable, the key's variable is not set, or the cache
                cannot be written. The message says what to set.
        """
        for what, value, variable in (
            ("url", self.url, URL_VARIABLE),
            ("model", self.model, MODEL_VARIABLE),
        ):
            if not value:
                raise UserError(
                    f"the verifier has no {what} (it judges answers of the forms "
                    f"{', '.join(sorted(self.forms))}, and those that fallback=verifier sends): set --judge-arg verifier:{what}=… or {variable}, for an OpenAI-compatible "
                    "server such as http://localhost:8000/v1"
                )
        try:
            parts = httpx.URL(self.url or "")
        except httpx.InvalidURL as error:
            raise UserError(f"verifier: url: not an http(s) URL: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.host:
            raise UserError(f"verifier: url {redacted_url(self.url or '')!r} is not an http(s) URL")
        if self._api_key and not usable_key(os.environ.get(self._api_key), self._api_key):
            raise UserError(
                f"verifier: api_key names the environment variable {self._api_key!r}, which is not set"
            )
        self._cache.check()

    def applies(self, sample: Sample) -> bool:
        return sample.answer_form in self.forms

    async def judge(self, sample: Sample, prediction: Prediction) -> Verdict:
        # A lone surrogate is legal in a model's text and in no request.
        answer = (prediction.answer or "").encode("utf-8", "replace").decode()
        if not answer:
            return decided(self, sample, None, correct=False)
        try:
            correct = await self._verdict({**_asked(sample), "answer": answer})
        except ServiceError as error:
            return undecided(self, sample, error.kind, str(error))
        return decided(self, sample, Match(answer, (0, len(answer))), correct=correct)

    async def close(self) -> None:
        """Close the connections; safe to call twice."""
        await self.service.close()

    async def _verdict(self, texts: Mapping[str, str]) -> bool:
        key = {"model": self.model or "", "prompt": self.prompt_hash, **texts}
        cached = await asyncio.to_thread(self._cache.get, key)
        if cached is not None and (correct := parse_verdict(cached)) is not None:
            return correct
        reply = await self._ask(Template(self._prompt).substitute(texts))
        correct = parse_verdict(reply)
        if correct is None:
            raise ServiceError("unparsable_reply", f"no verdict in the reply …{reply[-200:]!r}")
        try:
            await asyncio.to_thread(self._cache.put, key, reply)
        except OSError as error:  # the verdict stands; only the next run has to ask again
            _logger.warning("%s: reply not cached: %s", self._cache.folder, error)
        return correct

    async def _ask(self, prompt: str) -> str:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            **self._sampling,
        }
        if self._switches:
            try:
                return await self.service.ask({**body, **self._switches})
            except ServiceError as error:
                if error.kind not in _REFUSED:
                    raise
        reply = await self.service.ask(body)
        self._switches = {}  # refused, and not the reason why a request without them fails
        return reply

    @cached_property
    def service(self) -> ChatModel:
        """Client that is called on a cache miss. A wrapper, such as the trainer's circuit breaker, can replace it."""
        return ChatService(
            self.url or "",
            os.environ.get(self._api_key) if self._api_key else None,
            timeout=self._timeout,
            retries=self._retries,
            concurrency=self.concurrency,
            transport=self._transport,
        )


def _asked(sample: Sample) -> dict[str, str]:
    """Return question and reference; for a choice question both name letters and texts."""
    if not sample.options:
        return {"question": sample.question, "reference": sample.answer}
    lines = [f"{letter}. {text}" for letter, text in sample.options.items()]
    right = sample.options.get(sample.answer)
    return {
        "question": "\n".join([sample.question, *lines]),
        "reference": sample.answer if right is None else f"{sample.answer}. {right}",
    }


def _forms(text: str) -> frozenset[str]:
    forms = frozenset(part.strip() for part in text.split(",") if part.strip())
    known = get_args(AnswerForm)
    if not forms or not forms <= set(known):
        raise UserError(
            f"verifier: forms {text!r}: name some of {', '.join(known)}, separated by commas"
        )
    return forms


def _number(name: str, value: float | str, least: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not number >= least:
        raise UserError(f"verifier: {name} is {value!r}; it must be a number of at least {least:g}")
    return number
