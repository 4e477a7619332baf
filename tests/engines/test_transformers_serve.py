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
import pytest

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
    assert (can.min_pixels, can.max_pixels) == (4096, 262144)
