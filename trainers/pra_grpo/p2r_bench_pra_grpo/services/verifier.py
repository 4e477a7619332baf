"""The verifier as a service: behind a circuit breaker, and checked with a question of known answer."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from typing import Any

from p2r_bench.errors import EngineError
from p2r_bench.judges.select import close_judges, make_judge
from p2r_bench.judges.verifier import ChatModel, ServiceError, Verifier
from p2r_bench.types import ImageRef, Prediction, Sample
from p2r_bench_pra_grpo.config import Services
from p2r_bench_pra_grpo.services.breaker import Breaker


class GuardedModel:
    """A verifier's model behind a circuit breaker. Cached replies do not pass through it.

    Args:
        places: Requests in flight at once. Others wait here, so that they notice an open breaker.
    """

    def __init__(self, model: ChatModel, breaker: Breaker, places: int) -> None:
        self._model = model
        self._breaker = breaker
        self._places = asyncio.Semaphore(places)

    async def ask(self, payload: dict[str, object]) -> str:
        """See `ChatService.ask`.

        Raises:
            ServiceError: The model gives no reply to this question.
            ServiceDown: The model answers no question any more.
        """
        async with self._places:
            pauses = await self._breaker.ready()
            try:
                reply = await self._model.ask(payload)
            except ServiceError as error:
                passing = error.retryable or error.kind.startswith("http_5")
                failure = EngineError(str(error), kind=error.kind, retryable=passing)
                self._breaker.failed(failure, pauses)
                raise
            self._breaker.answered()
            return reply

    async def close(self) -> None:
        """Close the connections."""
        await self._model.close()


def guard(
    verifier: Verifier, params: Mapping[str, Any], limits: Services, workers: int = 1
) -> None:
    """Put a circuit breaker before a verifier.

    Args:
        params: The verifier's arguments, for the check.
        workers: Number of processes that share the server and its requests in flight.
    """

    async def check() -> None:
        await try_verifier({**params, "retries": 0})

    breaker = Breaker(
        "the verifier",
        check,
        opens_after=limits.pause_after,
        gives_up_after=limits.pause_at_most,
    )
    places = max(1, verifier.concurrency // workers)
    verifier.service = GuardedModel(verifier.service, breaker, places)


async def try_verifier(params: Mapping[str, Any]) -> None:
    """Ask a verifier, without its cache, whether two equal answers are equal.

    Raises:
        EngineError: The verifier fails, or calls the answers different.
    """
    ref = ImageRef(data=b"")
    sample = Sample("health", "health", ref, "What animal is it?", "a red fox", answer_form="free")
    with tempfile.TemporaryDirectory() as cache:
        judge = make_judge("verifier", {**params, "cache_dir": cache})
        try:
            verdict = await judge.judge(sample, Prediction(sample.id, answer="a red fox"))
        finally:
            await close_judges([judge])
    if verdict.status != "ok":
        cause = verdict.error
        raise EngineError(
            cause.message if cause else "no verdict", kind=cause.type if cause else "no_verdict"
        )
    if not verdict.correct:
        raise EngineError(
            'the server answers, and says that "a red fox" is not "a red fox"; serve a model that '
            "can compare answers",
            kind="wrong_verdict",
        )
