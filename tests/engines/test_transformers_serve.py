"""The openai engine against a real server, `transformers serve`, of the same checkpoint."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pandas
import pytest

from p2r_bench import evaluate
from p2r_bench.bundled import resolve_model
from p2r_bench.engines.openai import OpenAIEngine
from p2r_bench.engines.transformers import TransformersEngine
from p2r_bench.types import Capabilities, Completion, Engine, EngineConfig
from tests.engines.requests_made import make_request

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]


@contextmanager
def serving(folder: Path, log: Path) -> Iterator[str]:
    """URL of `transformers serve` for a folder, while the block runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.engines.serve_transformers", str(folder), str(port)]
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, "HF_HUB_OFFLINE": "1"}
        )
    try:
        _wait(server, f"http://localhost:{port}/health", log)
        yield f"http://localhost:{port}/v1"
    finally:
        server.terminate()
        server.wait(30)


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + 300
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    raise AssertionError(f"no answer from {url}: {log.read_text()[-3000:]}")


def answers(
    make: Callable[[], Engine], pairs: list[tuple]
) -> tuple[list[Completion], Capabilities]:
    async def session() -> tuple[list[Completion], Capabilities]:
        engine = make()
        await engine.start()
        try:
            done = await asyncio.gather(*(engine.generate(*pair) for pair in pairs))
            return list(done), engine.capabilities()
        finally:
            await engine.close()

    return asyncio.run(session())


def test_served_answers_are_those_of_the_engine_in_process(
    tiny_folder: Path, tmp_path: Path
) -> None:
    pairs = [make_request(number, max_tokens=24) for number in range(40)]
    mine, _ = answers(lambda: TransformersEngine(EngineConfig(str(tiny_folder))), pairs)
    with serving(tiny_folder, tmp_path / "server.log") as url:
        # This server lists what is in the hub's cache, not what it was started with.
        args = {"base_url": url, "check_model": "no", "max_pixels": "262144"}
        served, can = answers(
            lambda: OpenAIEngine(EngineConfig(str(tiny_folder), args=args)), pairs
        )
    different = [
        (number, ours.text, theirs.text)
        for number, (ours, theirs) in enumerate(zip(mine, served, strict=True))
        if ours.text.strip() != theirs.text  # the server strips
    ]
    assert not different
    assert [c.prompt_tokens for c in mine] == [c.prompt_tokens for c in served]
    # It refuses fields that the standard has not, and follows no schemas.
    assert "repetition_penalty" not in can.sampling
    assert not can.schema
    assert (can.min_pixels, can.max_pixels) == (4096, 257 * 1024 - 1)


def test_both_engines_give_the_bundled_models_answers_to_200_rows(tmp_path: Path) -> None:
    """The promise for a whole run: at least 99 % equal texts in every stage; the rest are listed."""
    common = {
        "mode": "p2r",
        "tasks": "Synth-HR",
        "limit": 200,
        "task_params": {"seed": 11, "rows": 200},
    }
    (here,) = evaluate(**common, out=tmp_path / "here")
    folder = resolve_model("p2r-tiny")
    with serving(Path(folder), tmp_path / "server.log") as url:
        args = {"base_url": url, "check_model": "no", "concurrency": 2}
        (there,) = evaluate(
            **common, model=folder, engine="openai", engine_args=args, out=tmp_path / "there"
        )
    ours, theirs = (texts_by_sample(result.path) for result in (here, there))
    assert ours.keys() == theirs.keys()
    assert len(ours) == 200
    different = [(name, ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]]
    for name, mine, served in different:
        print(f"{name}\n  transformers: {mine}\n  openai:       {served}")  # noqa: T201 - the list is asked for
    assert len(different) <= 2


def texts_by_sample(run: Path) -> dict[str, tuple[str, ...]]:
    """Texts of all stages by sample."""
    rows = pandas.read_parquet(run / "samples.parquet")
    assert (rows["status"] == "ok").all(), rows["error_message"].dropna().tolist()[:3]
    return {
        row.sample_id: tuple(call["text"].strip() for call in row.stages)
        for row in rows.itertuples()
    }
