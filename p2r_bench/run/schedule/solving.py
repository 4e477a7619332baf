"""Solving of one sample: the mode's calls go to the engines, and their outcome becomes a prediction."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from p2r_bench.adapter import Profile
from p2r_bench.engines.completions import checked
from p2r_bench.engines.data_urls import check_bytes
from p2r_bench.errors import EngineDead, EngineError, EngineStopped, ImageError, UserError
from p2r_bench.run.accounting import EngineMeter
from p2r_bench.run.images.rendering import Prepared, RowImages, Sendable
from p2r_bench.run.schedule.seeds import CallSeeds
from p2r_bench.types import (
    Completion,
    Engine,
    ErrorInfo,
    ImageEncoder,
    Mode,
    Prediction,
    Request,
    Sample,
    changed,
)


@dataclass(frozen=True)
class Solver:
    """Solver of samples in one mode.

    Attributes:
        engines: Engine of each role.
        meters: Meter of each role's engine.
        encoders: Image encoder of each role's engine.
    """

    mode: Mode
    profile: Profile
    engines: Mapping[str, Engine]
    meters: Mapping[str, EngineMeter]
    seed: int = 0
    encoders: Mapping[str, ImageEncoder | None] = field(default_factory=dict)

    async def solve(self, sample: Sample, images: RowImages, repeat: int = 0) -> Prediction:
        """Return the mode's prediction. A failure of the engine, the image or the mode is status "error" with its
        cause.

        Completions that finished are kept. Cancelling aborts the calls.

        Raises:
            EngineStopped: The engine is dead.
            UserError: The mode broke its contract.
        """
        calls = _Calls(self, images, CallSeeds(self.seed, repeat))
        try:
            prediction = await self.mode.solve(sample, calls.ask, self.profile)
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 - a plugin's own error belongs to the sample, not to the run
            return Prediction(
                sample.id,
                status="error",
                completions=tuple(calls.finished),
                error=_info(error, calls.failed_role),
            )
        if not isinstance(prediction, Prediction) or prediction.sample_id != sample.id:
            name = type(self.mode).__name__
            raise UserError(f"mode {name}: solve must return a Prediction of sample {sample.id}")
        return prediction


class _Calls:
    def __init__(self, solver: Solver, images: RowImages, seeds: CallSeeds) -> None:
        self._solver = solver
        self._images = images
        self._seeds = seeds
        self.finished: list[Completion] = []
        self.failed_role: str | None = None

    async def ask(self, request: Request) -> Completion:
        request = self._seeds.seeded(request)
        engine, meter = self._engine(request.role), self._solver.meters[request.role]
        try:
            encoder = self._solver.encoders.get(request.role)
            prepared = await self._images.prepare(request.recipes, request.priority, encoder)
            begun = time.perf_counter()
            meter.enter(begun)
            try:
                # Keep no reference to the images: their lease ends when the engine drops them.
                completion = checked(
                    await engine.generate(request, cast(Any, self._lent(prepared, request))),
                    request.id,
                )
            except EngineDead as error:
                raise EngineStopped(
                    f"{error}. The run stops; finished samples are kept, and the same command resumes the run"
                ) from error
            finally:
                ended = time.perf_counter()
                meter.leave(ended)
                prepared.release()
        except Exception:
            self.failed_role = self.failed_role or request.role
            raise
        reported = completion.timings
        timings = {
            "engine": ended - begun,
            **reported,
            "queue": prepared.waited + reported.get("queue", 0.0),
            "image": prepared.worked,
        }
        completion = changed(
            completion,
            request=request,
            visual_tokens=request.visual_tokens,
            engine_visual_tokens=completion.visual_tokens,
            timings=timings,
        )
        self.finished.append(completion)
        return completion

    def _lent(self, prepared: Prepared, request: Request) -> Sequence[Sendable]:
        images = prepared.lend()
        check_bytes(images, self._solver.profile.image.max_bytes, request.id)
        return images

    def _engine(self, role: str) -> Engine:
        engines = self._solver.engines
        if role not in engines:
            raise UserError(
                f"mode {type(self._solver.mode).__name__} calls the role {role!r}, and names only "
                f"{', '.join(engines)}: its attribute `roles` must hold every role it calls"
            )
        return engines[role]


def _info(error: Exception, role: str | None) -> ErrorInfo:
    if isinstance(error, EngineError):
        return ErrorInfo(error.kind, str(error), role)
    name = "image" if isinstance(error, ImageError) else type(error).__name__
    return ErrorInfo(name, str(error) or repr(error), role)
