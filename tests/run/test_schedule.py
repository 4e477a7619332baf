"""In which order rows are begun, and what the two schedules promise."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from p2r_bench.adapter import decode
from p2r_bench.errors import UserError
from p2r_bench.run import barrier, images
from p2r_bench.run.feed import Work
from p2r_bench.run.order import near_each_other
from p2r_bench.run.result import RunResult
from p2r_bench.run.runner import run
from p2r_bench.run.spec import RunSpec
from p2r_bench.run.sweep import specs_of
from p2r_bench.store.equal import differences
from p2r_bench.types import Completion, ImageRef, Request, Sample
from tests.run.conftest import FakeEngine, FakeEngines, write_bench


def work(index: int, image: ImageRef, question_id: str | None = None) -> Work:
    return Work(index, Sample(str(index), "t", image, "What?", "A", question_id=question_id))


def order(todo: Sequence[Work]) -> list[int]:
    return [one.index for one in near_each_other(todo)]


def test_rotations_that_the_file_keeps_apart_run_next_to_each_other() -> None:
    rows = [
        work(i, ImageRef(path="a.parquet", row=i, column="image"), f"q{i % 3}") for i in range(9)
    ]
    assert order(rows) == [0, 3, 6, 1, 4, 7, 2, 5, 8]


@pytest.mark.parametrize(
    "images",
    [
        [ImageRef(path="x.jpg"), ImageRef(path="y.jpg")],
        [ImageRef(data=b"x"), ImageRef(data=b"y")],
        [ImageRef(path="a", row=0, digest="x"), ImageRef(path="a", row=1, digest="y")],
    ],
    ids=["file", "memory", "digest"],
)
def test_questions_about_the_same_image_run_next_to_each_other(images: list[ImageRef]) -> None:
    assert order([work(i, images[i % 2]) for i in range(6)]) == [0, 2, 4, 1, 3, 5]


def test_rows_of_a_file_whose_images_are_not_known_keep_their_order() -> None:
    rows = [work(i, ImageRef(path="a.parquet", row=i % 5, column="bytes")) for i in range(5)]
    assert order(rows) == [0, 1, 2, 3, 4]


class Watched(FakeEngine):
    """Notes when calls begin and end."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, str, str]] = []

    async def generate(self, request: Request, images: Sequence[Image.Image]) -> Completion:
        self.events.append(("begin", request.role, request.sample_id))
        await asyncio.sleep(0.001 * (len(self.events) % 7))
        completion = await super().generate(request, images)
        self.events.append(("end", request.role, request.sample_id))
        return completion


def do(bench: Path, out: str, engine: FakeEngine, **changes: Any) -> RunResult:
    spec = RunSpec("HR-Bench", data_dir=bench, out=bench.parent / out, profile="tiny")
    return asyncio.run(run(dataclasses.replace(spec, **changes), FakeEngines(engine)))


@pytest.mark.parametrize("mode", ["default", "thinking", "p2r", "oracle"])
def test_both_schedules_give_the_same_run(bench: Path, mode: str) -> None:
    pipelined = do(bench, "pipelined", FakeEngine(), mode=mode)
    barred = do(bench, "barrier", FakeEngine(), mode=mode, schedule="barrier")
    assert pipelined.run_id == barred.run_id and barred.complete
    assert differences(pipelined.path, barred.path) == []
    sessions = [
        json.loads((r.path / "manifest.json").read_text())["sessions"][0]
        for r in (pipelined, barred)
    ]
    assert [s["noted"]["schedule"] for s in sessions] == ["pipelined", "barrier"]


def test_with_the_barrier_a_stage_begins_when_the_batch_has_finished_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(barrier, "BATCH", 8)
    engine = Watched()
    do(write_bench(tmp_path / "data", questions=5), "out", engine, schedule="barrier")
    stages: list[tuple[str, str]] = []
    for kind, role, _ in engine.events:
        if not stages or stages[-1] != (kind, role):
            stages.append((kind, role))
    batch = [("begin", "perceive"), ("end", "perceive"), ("begin", "reason"), ("end", "reason")]
    assert stages == batch * 3  # 8, 8 and 4 rows


def test_with_the_barrier_every_row_decodes_and_resizes_for_itself(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"decode": 0, "render": 0}
    for name in counts:
        real = getattr(images, name)

        def counting(*args: Any, name: str = name, real: Any = real, **policy: Any) -> Any:
            counts[name] += 1
            return real(*args, **policy)

        monkeypatch.setattr(images, name, counting)
    do(bench, "out", FakeEngine(), schedule="barrier")
    assert counts == {"decode": 12, "render": 12 * 3}


def test_with_the_barrier_a_row_beyond_the_memory_decodes_again(
    bench: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decodes: list[bytes] = []

    def counting(data: bytes, **policy: Any) -> Image.Image:
        decodes.append(data)
        return decode(data, **policy)

    monkeypatch.setattr(images, "decode", counting)
    result = do(bench, "out", FakeEngine(), schedule="barrier", image_memory=5 * 96 * 64 * 4)
    assert result.complete and len(decodes) > 12


def test_with_the_barrier_a_failed_request_holds_nobody_up(bench: Path) -> None:
    engine = FakeEngine(fail=lambda r: r.sample_id == "4K/2" and r.role == "perceive")
    result = do(bench, "out", engine, schedule="barrier")
    (row,) = result.overall
    assert (row["n"], row["n_errors"]) == (11, 1)


def test_an_unknown_schedule_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match='--schedule = "eager": must be pipelined or barrier'):
        specs_of({"tasks": "HR-Bench", "schedule": "eager"})
