"""A task of given samples, and an engine that writes down what it receives: for the sides of a comparison."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from PIL import Image

from p2r_bench import hookimpl
from p2r_bench.hookspecs import Register
from p2r_bench.types import (
    Capabilities,
    Cell,
    Completion,
    DataSource,
    EngineConfig,
    Metric,
    Request,
    Sample,
    digest_of,
)
from pra_grpo_testing.parity.rendered import Rendered, rendered
from pra_grpo_testing.parity.samples import boxes_for
from pra_grpo_testing.registering import registered

ANSWER = "<think>So it is.</think><answer>B</answer>"

TASK, ENGINE = "parity", "recording"


class GivenSamples:
    """A task of the samples that `comparing` was given."""

    name = TASK
    metrics = (Metric(),)
    given: ClassVar[Sequence[Sample]] = ()

    def samples(self, source: DataSource) -> Iterator[Sample]:
        """See `Task.samples`."""
        yield from self.given

    def data_digest(self, source: DataSource) -> str:
        """See `Task.data_digest`."""
        return digest_of([sample.id for sample in self.given])

    def cells(self, sample: Sample) -> tuple[Cell, ...]:
        """See `Task.cells`."""
        return ((None, None),)


class RecordingEngine:
    """Answers the perceiver's calls with `boxes_for` the sample, all others with `ANSWER`."""

    calls: ClassVar[dict[tuple[str, str], Rendered]] = {}

    def __init__(self, config: EngineConfig) -> None:
        self.config = config

    async def identify(self) -> str:
        """See `Engine.identify`."""
        return "recording"

    async def start(self) -> None:
        """See `Engine.start`."""

    def capabilities(self) -> Capabilities:
        """See `Engine.capabilities`."""
        return Capabilities(schema=True)

    async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
        """See `Engine.generate`."""
        self.calls[request.sample_id, request.role] = rendered(request, images)
        return completion_of(request)

    async def close(self) -> None:
        """See `Engine.close`."""


_by_id: dict[str, Sample] = {}


def completion_of(request: Request) -> Completion:
    """Return the recording engine's reply."""
    sample = _by_id.get(request.sample_id)
    text = boxes_for(sample) if sample and request.role == "perceive" else ANSWER
    return Completion(text, request=request)


@contextmanager
def comparing(samples: Sequence[Sample]) -> Iterator[dict[tuple[str, str], Rendered]]:
    """Registers task and engine, and yields the calls that the engine receives."""

    @hookimpl
    def register_tasks(register: Register) -> None:
        register(TASK, f"{__name__}:GivenSamples")

    @hookimpl
    def register_engines(register: Register) -> None:
        register(ENGINE, f"{__name__}:RecordingEngine")

    GivenSamples.given = samples
    calls: dict[tuple[str, str], Rendered] = {}
    RecordingEngine.calls = calls
    _by_id.update({sample.id: sample for sample in samples})
    with registered("parity", register_tasks=register_tasks, register_engines=register_engines):
        try:
            yield calls
        finally:
            GivenSamples.given = ()
        _by_id.clear()
