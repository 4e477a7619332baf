"""An OpenAI-compatible server in a separate process, for measurements of the `openai` engine.

    python -m benchmarks.chat_server [--latency 4.0] [--port 0]

It reads every request whole and answers after the time that a GPU takes with 32 requests at once. It counts prompt
tokens by the Qwen3-VL family's rule, from the sizes in the images' headers, and follows the schema that the engine
tries at start. Its boxes depend on the question with its options, so that hardly any two rows share crops. It prints
its URL when it is ready, and ends with its standard input.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

MODEL = "benchmark"
LATENCY_S = 4.0
_HEADER = 4096
_IMAGE = re.compile(rb'data:image/[a-z]+;base64,([A-Za-z0-9+/]{4,%d})[^"]*' % _HEADER)


@contextmanager
def served(latency_s: float = LATENCY_S) -> Iterator[str]:
    """Return a context with the URL of a running server."""
    command = [sys.executable, "-m", "benchmarks.chat_server", "--latency", str(latency_s)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def answer(body: bytes) -> dict[str, Any]:
    """Return the answer to a chat request."""
    tokens = sum(_visual_tokens(match[1]) for match in _IMAGE.finditer(body))
    request = json.loads(_IMAGE.sub(b"image", body))
    text = _text(request)
    words = sum(len(_texts(message["content"])) // 4 for message in request["messages"])
    return {
        "id": "chatcmpl-benchmark",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": words + tokens,
            "completion_tokens": len(text) // 4 + 1,
            "total_tokens": words + tokens + len(text) // 4 + 1,
        },
    }


def _visual_tokens(base64_start: bytes) -> int:
    header = base64.b64decode(base64_start[: len(base64_start) // 4 * 4])
    with Image.open(io.BytesIO(header)) as image:
        return image.width * image.height // 1024 + 2


def _texts(content: Any) -> str:
    return content if isinstance(content, str) else "".join(p.get("text", "") for p in content)


def _text(request: dict[str, Any]) -> str:
    if "response_format" in request:
        schema = request["response_format"]["json_schema"]["schema"]
        return json.dumps({name: rule["enum"][0] for name, rule in schema["properties"].items()})
    prompt = "".join(_texts(message["content"]) for message in request["messages"])
    if "bbox_2d" in prompt:
        return json.dumps([{"bbox_2d": box, "label": "it"} for box in _boxes(prompt)])
    return "<think>The regions are looked at one after the other.</think><answer>A</answer>"


def _boxes(prompt: str) -> list[list[int]]:
    """Return two boxes of a twentieth to a fifth of the image's sides."""
    numbers = hashlib.sha256(prompt.encode()).digest()
    boxes = []
    for a, b, c, d in (numbers[:4], numbers[4:8]):
        left, top = a * 3, b * 3
        boxes.append([left, top, left + 50 + c * 150 // 255, top + 50 + d * 150 // 255])
    return boxes


class Handler(BaseHTTPRequestHandler):
    """Handler of `/v1/models` and `/v1/chat/completions`."""

    protocol_version = "HTTP/1.1"
    latency_s = LATENCY_S

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        self._reply({"object": "list", "data": [{"id": MODEL, "object": "model", "root": MODEL}]})

    def do_POST(self) -> None:
        reply = answer(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(self.latency_s)
        self._reply(reply)

    def _reply(self, reply: dict[str, Any]) -> None:
        body = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _end_with_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=LATENCY_S)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    Handler.latency_s = options.latency
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_address[1]}/v1", flush=True)
    threading.Thread(target=_end_with_input, daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
