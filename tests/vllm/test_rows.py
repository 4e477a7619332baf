"""Whole runs on vLLM, in process and behind its server, give the transformers engine's texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest

from p2r_bench import evaluate
from p2r_bench.run.engines import EngineSet
from p2r_bench.run.runner import run
from p2r_bench.run.spec import EngineChoice, RunSpec
from tests.vllm.conftest import ARGS, Loop
from tests.vllm.reading import ROWS, differences, texts_by_sample
from tests.vllm.server import serving

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, ...]]:
    """Texts of the transformers engine."""
    (result,) = evaluate(**ROWS, out=tmp_path_factory.mktemp("reference"))
    return texts_by_sample(result.path)


@pytest.fixture(scope="module")
def here(
    loop: Loop, engines: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Folder of the run on the vLLM that the tests share."""

    async def work() -> Path:
        spec = RunSpec(
            task=ROWS["tasks"],
            limit=ROWS["limit"],
            task_params=ROWS["task_params"],
            choice=EngineChoice("p2r-tiny", "vllm", args=ARGS),
            out=tmp_path_factory.mktemp("here"),
        )
        running = EngineSet()
        try:
            return (await run(spec, running)).path
        finally:
            await running.close()

    yield loop.run(work())


def test_in_process_the_texts_of_both_stages_are_those_of_the_transformers_engine(
    here: Path, reference: dict[str, tuple[str, ...]]
) -> None:
    texts = texts_by_sample(here)
    assert texts.keys() == reference.keys()
    assert len(texts) == ROWS["limit"]
    different = differences(texts, reference)
    print(f"{len(texts) - len(different)} of {len(texts)} equal", *different, sep="\n")  # noqa: T201 - asked for
    assert len(different) <= 2


def test_tokens_and_times_of_every_call_are_known(here: Path) -> None:
    rows = pandas.read_parquet(here / "samples.parquet")
    for stages in rows["stages"]:
        for call in stages:
            assert call["prompt_tokens"] > call["visual_tokens"] > 0
            assert call["output_tokens"] >= 1
            assert call["queue_seconds"] is not None
            assert call["engine_seconds"] > 0


def test_behind_its_server_the_texts_are_the_same(
    tmp_path: Path, reference: dict[str, tuple[str, ...]]
) -> None:
    with serving("p2r-tiny", tmp_path / "server.log") as url:
        args = {"base_url": url, "concurrency": 16, "max_pixels": 65536}
        (result,) = evaluate(
            **{**ROWS, "limit": 60},
            model="p2r-tiny",
            engine="openai",
            engine_args=args,
            out=tmp_path / "there",
        )
    texts = texts_by_sample(result.path)
    assert len(texts) == 60
    different = differences(reference, texts)
    print(f"{60 - len(different)} of 60 equal", *different, sep="\n")  # noqa: T201 - asked for
    assert not different
