"""vLLM's own server, as a user starts it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from p2r_bench.bundled import resolve_model

OPTIONS = (
    "--dtype", "float32",
    "--enforce-eager",
    "--max-model-len", "4096",
    "--max-num-seqs", "16",
    "--kv-cache-memory-bytes", str(1 << 28),
    "--limit-mm-per-prompt", '{"image": 4, "video": 0}',
    "--mm-processor-kwargs", '{"size": {"shortest_edge": 1024, "longest_edge": 131072}}',
    "--mm-processor-cache-gb", "0.1",
    "--scheduling-policy", "priority",
    "--generation-config", "vllm",
)  # fmt: skip
START_S = 400


@contextmanager
def serving(model: str, log: Path) -> Iterator[str]:
    """URL of the server of a bundled model, under the model's own name, while the block runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", resolve_model(model), "--served-model-name", model),
        *("--host", "127.0.0.1", "--port", str(port), *OPTIONS),
    ]
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, stdout=out, stderr=out, env={**os.environ, "HF_HUB_OFFLINE": "1"}
        )
    try:
        _wait(server, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    raise AssertionError(f"no answer from {url}: {log.read_text()[-3000:]}")
