"""Frozen models: bounded requests, retries, typed failures and a circuit breaker."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from p2r_bench.adapter import Profile
from p2r_bench.errors import EngineError, ImageError, UserError
from p2r_bench.plugins import registry
from p2r_bench.session import CallSeeds
from p2r_bench.types import Completion, Engine, EngineConfig, Request, Sample
from p2r_bench_pra_grpo.boxes import BoxStore, StoredBoxes
from p2r_bench_pra_grpo.config import Config, ServiceConfig, Services, profile_of
from p2r_bench_pra_grpo.images import SampleImages
from p2r_bench_pra_grpo.services.breaker import Breaker
from p2r_bench_pra_grpo.services.health import check_health
from p2r_bench_pra_grpo.services.naming import served_name
from p2r_bench_pra_grpo.stage import Frozen

RETRY_WAIT_S = 0.5

_WHOLE = frozenset({"stop", "length"})


class FrozenModel:
    """A frozen model behind an engine of the core.

    Args:
        name: For messages: "the frozen reasoner".
        engine: Engine, not started. `FrozenModel` closes it.
        at: Address of the same model for another process, or None.
        retries: Retries of failed calls, beside the engine's own.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        profile: Profile,
        samples: Sequence[Sample],
        limits: Services,
        *,
        at: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
        retries: int = 0,
        seed: int = 0,
    ) -> None:
        self.at = at
        self._name = name
        self._engine = engine
        self._profile = profile
        self._samples = samples
        self._limits = limits
        self._places = asyncio.Semaphore(concurrency or limits.concurrency)
        self._retries = retries
        self._seeds = seed
        self._images: SampleImages | None = None
        self._breaker = Breaker(
            name,
            self._check_health,
            opens_after=limits.pause_after,
            gives_up_after=limits.pause_at_most,
        )

    async def __aenter__(self) -> Self:
        """Start the engine and check its health.

        Raises:
            UserError: The model cannot be used.
        """
        try:
            await self._engine.start()
            await self._check_health()
        except EngineError as error:
            await self._engine.close()
            raise UserError(f"{self._name} does not answer: {error}") from error
        except BaseException:
            await self._engine.close()
            raise
        self._images = SampleImages(self._samples)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._images is not None:
            await asyncio.to_thread(self._images.close)
        await self._engine.close()

    async def ask(self, request: Request) -> Completion:
        """See `Frozen.ask`."""
        if self._images is None:
            raise RuntimeError("the frozen model is used inside `async with`")
        seeded = CallSeeds(self._seeds, 0).seeded(request)
        async with self._places:
            try:
                async with self._images.of(seeded) as images:
                    for attempt in itertools.count():
                        pauses = await self._breaker.ready()
                        try:
                            return await self._answer(seeded, images)
                        except EngineError as error:
                            if not error.retryable or attempt >= self._repeats(error):
                                self._breaker.failed(error, pauses)
                                raise
                            await asyncio.sleep(RETRY_WAIT_S * 2**attempt)
            except ImageError as error:
                raise EngineError(str(error), kind="image", retryable=False) from error
        raise AssertionError("unreachable")

    def _repeats(self, error: EngineError) -> int:
        """Return the number of retries of a failed call. Engines with their own retries do not repeat an aborted call."""
        return self._limits.retries if error.kind == "aborted" else self._retries

    async def _answer(self, request: Request, images: Sequence[Any]) -> Completion:
        completion = _whole(await self._engine.generate(request, images))
        self._breaker.answered()
        return replace(completion, request=request)

    async def _check_health(self) -> None:
        _whole(await check_health(self._engine, self._profile))


def frozen_model(
    name: str,
    service: ServiceConfig,
    folder: Path,
    config: Config,
    profile: Profile,
    samples: Sequence[Sample],
) -> FrozenModel:
    """Return the frozen model of a stage as its service is configured; a server must be running."""
    if service.kind == "engine":
        args = {key: _text(value) for key, value in service.engine_args.items()}
        engine = registry().get("engine", service.engine)(
            EngineConfig(str(folder), None, args, profile.max_images)
        )
        limits = config.services
        return FrozenModel(name, engine, profile, samples, limits, retries=limits.retries)
    urls = service.urls if service.kind == "url" else (service.url,)
    return _client(
        name, {"urls": list(urls), "model": served_name(folder, service)}, config, samples
    )


def connect(
    at: Mapping[str, Any], config: Config, samples: Sequence[Sample], concurrency: int | None = None
) -> Frozen:
    """Return a client of the frozen model that another process started.

    Args:
        at: `Frozen.at` of that process.
        concurrency: This process's share of the requests in flight; None for all of them.
    """
    if "boxes" in at:
        return StoredBoxes(BoxStore(Path(at["boxes"]), at["checkpoint"], profile_of(config)))
    return _client(str(at.get("name", "the frozen model")), at, config, samples, concurrency)


def _client(
    name: str,
    at: Mapping[str, Any],
    config: Config,
    samples: Sequence[Sample],
    concurrency: int | None = None,
) -> FrozenModel:
    limits, profile = config.services, profile_of(config)
    places = concurrency or limits.concurrency
    args = {
        "base_url": ",".join(at["urls"]),
        "concurrency": str(places),
        "timeout": str(limits.timeout),
        "retries": str(limits.retries),
        "max_pixels": str(max(profile.image.max_pixels, 65536)),
    }
    engine = registry().get("engine", "openai")(
        EngineConfig(at["model"], None, args, profile.max_images)
    )
    address = {"name": name, "urls": list(at["urls"]), "model": at["model"]}
    return FrozenModel(name, engine, profile, samples, limits, at=address, concurrency=places)


def _whole(completion: Completion) -> Completion:
    """Return a completion that ended by itself or at the cap.

    Raises:
        EngineError: The server cut the completion off, for example at its shutdown.
    """
    if completion.finish_reason not in _WHOLE:
        raise EngineError(
            f"the server ended the answer with {completion.finish_reason!r}", kind="aborted"
        )
    return completion


def _text(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
