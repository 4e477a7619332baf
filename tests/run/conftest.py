"""A small HR-Bench-format folder, and engines that answer from it without a model."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from p2r_bench.errors import EngineError
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.spec import EngineChoice
from p2r_bench.types import Capabilities, Completion, Engine, Request

LETTERS = "ABCD"
COLOURS = ("red", "green", "blue", "black")


def write_bench(folder: Path, questions: int = 3) -> Path:
    """An HR-Bench 4K folder: `questions` questions in four rotations; the answer is the image's colour."""
    rows = []
    for number in range(questions):
        colour = COLOURS[number % 4]
        buffer = io.BytesIO()
        Image.new("RGB", (96 + number, 64), colour).save(buffer, "PNG")
        for turn in range(4):
            options = COLOURS[turn:] + COLOURS[:turn]
            rows.append(
                {
                    "index": 4 * number + turn,
                    "question": f"Which colour is picture {number}?",
                    "answer": LETTERS[options.index(colour)],
                    "category": ("single", "cross")[number % 2],
                    **dict(zip(LETTERS, options, strict=True)),
                    "cycle_category": str(turn),
                    "image": base64.b64encode(buffer.getvalue()).decode(),
                    "boxes": '[{"bbox_2d": [100, 100, 600, 700], "label": "it"}]',
                }
            )
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "hrbench_4k-00000-of-00001.parquet")
    return folder


class FakeEngine:
    """Engine that answers by the pixels, counts its calls, and fails on demand."""

    def __init__(
        self, fail: Callable[[Request], bool] = lambda request: False, delay: float = 0.0
    ) -> None:
        self.calls: list[Request] = []
        self.starts = 0
        self.fail = fail
        self.delay = delay
        self.kind = "told"
        self.digest = "fake-weights"
        self.facts: dict[str, object] = {"name": "fake", "dtype": "none"}

    async def identify(self) -> str:
        return self.digest

    async def start(self) -> None:
        self.starts += 1

    def capabilities(self) -> Capabilities:
        return Capabilities(concurrency=4, facts=self.facts)

    async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
        self.calls.append(request)
        await asyncio.sleep(self.delay)
        if self.fail(request):
            raise EngineError("the fake engine was told to fail", kind=self.kind)
        if request.role == "perceive":
            return Completion('[{"bbox_2d": [200, 200, 500, 500], "label": "it"}]', output_tokens=9)
        letter = self._letter(request, images[-1])
        text = (
            letter if request.role == "answer" else f"<think>seen</think><answer>{letter}</answer>"
        )
        return Completion(text, output_tokens=4)

    @staticmethod
    def _letter(request: Request, image: Image.Image) -> str:
        pixel = image.getpixel((image.width // 2, image.height // 2))
        shown = next(c for c in COLOURS if Image.new("RGB", (1, 1), c).getpixel((0, 0)) == pixel)
        text = request.messages[-1].content[-1]
        assert isinstance(text, str)
        return next(line[0] for line in text.splitlines() if line.endswith(f". {shown}"))

    async def close(self) -> None: ...


class FakeEngines(EngineSet):
    """The same fake engine for every choice, or one per model name."""

    def __init__(self, *engines: FakeEngine, **by_model: FakeEngine) -> None:
        super().__init__()
        self._default = engines[0] if engines else None
        self._by_model = by_model

    def get(self, choice: EngineChoice, family: str | None = None) -> Engine:
        engine = self._by_model.get(choice.model, self._default)
        assert engine is not None
        return engine


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    return write_bench(tmp_path / "data")
