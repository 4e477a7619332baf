"""A tiny benchmark on disk, and whole runs over it with a scripted engine."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from p2r_bench.engines.scripted import ScriptedEngine
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.result import RunResult
from p2r_bench.run.runner import run
from p2r_bench.run.spec import EngineChoice, RunSpec
from p2r_bench.testing.script import Replies, Script
from p2r_bench.types import Engine, EngineConfig

COLOURS = ("red", "green", "blue", "black")
BOX = (125, 250, 375, 750)


def write_bench(folder: Path, questions: int = 2) -> Path:
    """Write `questions` questions in four rotations each, in HR-Bench's format with ground-truth boxes.

    The images are 160×80 pixels; each shows a coloured square at `BOX` (thousandths), and the question asks
    for its colour. The right letter of row i is `"ADCB"[i % 4]` for the first question.

    Returns:
        The folder, for `--data-dir`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for number in range(questions):
        colour = COLOURS[number % len(COLOURS)]
        for turn in range(len(COLOURS)):
            options = dict(zip("ABCD", COLOURS[turn:] + COLOURS[:turn], strict=True))
            rows.append(
                {
                    "index": len(COLOURS) * number + turn,
                    "question": f"Which colour is the square in picture {number}?",
                    "answer": next(letter for letter, text in options.items() if text == colour),
                    "category": ("single", "cross")[number % 2],
                    **options,
                    "cycle_category": str(turn),
                    "image": base64.b64encode(_picture(number, colour)).decode(),
                    "boxes": json.dumps([{"bbox_2d": BOX, "label": "square"}]),
                }
            )
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "hrbench_4k-00000-of-00001.parquet")
    return folder


def scripted_run(
    mode: str, replies: Replies, *, out: Path, task: str = "HR-Bench", **fields: Any
) -> RunResult:
    """Run a mode through the whole pipeline with scripted replies in place of a model.

    Args:
        mode: Registered name.
        replies: See `Script`.
        out: Folder of the run and the leaderboard.
        fields: Further fields of `RunSpec`, such as `data_dir`, `profile` or `mode_params`.
    """
    spec = RunSpec(
        task=task, mode=mode, choice=EngineChoice("scripted", "scripted"), out=out, **fields
    )
    return asyncio.run(run(spec, _Scripted(Script(replies))))


@pytest.fixture
def tiny_bench(tmp_path: Path) -> Path:
    """Return the folder of a tiny benchmark in HR-Bench's format, with 8 rows. See `write_bench`."""
    return write_bench(tmp_path / "tiny_bench")


@pytest.fixture(name="scripted_run")
def scripted_run_fixture(tiny_bench: Path, tmp_path: Path) -> Callable[..., RunResult]:
    """Return `scripted_run(mode, replies, …)` over `tiny_bench`, with the test's own results folder."""

    def over_tiny_bench(mode: str, replies: Replies, **fields: Any) -> RunResult:
        given = {"out": tmp_path / "results", "data_dir": tiny_bench, **fields}
        return scripted_run(mode, replies, **given)

    return over_tiny_bench


class _Scripted(EngineSet):
    """An engine set with one scripted engine for every choice."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self._engine = ScriptedEngine(EngineConfig("scripted"), script.text)

    def get(self, choice: EngineChoice, family: str | None = None) -> Engine:
        return self._engine


def _picture(number: int, colour: str) -> bytes:
    width, height = 160, 80
    image = Image.new("RGB", (width, height), (255, 255, 240 - number))
    left, top, right, bottom = BOX
    corners = (
        left * width // 1000,
        top * height // 1000,
        right * width // 1000,
        bottom * height // 1000,
    )
    ImageDraw.Draw(image).rectangle(corners, fill=colour)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
