"""A server with the chat completions API and no model: answers, or misbehaves as it is told to."""

from __future__ import annotations

import argparse
import base64
import io
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

from PIL import Image

Behaviour = Literal["answers", "slow", "garbage", "no text", "aborts", "400", "429", "500", "down"]
RIGHT = "<think>So it is.</think><answer>B</answer>"
BOXES = '[{"bbox_2d": [100, 200, 400, 600], "label": "the square"}]'


def reply_to(text: str) -> str:
    """Boxes for a perceiver's prompt, a verdict for a verifier's, else an answer."""
    if "bbox_2d" in text:
        return BOXES
    return "VERDICT: CORRECT" if "verdict" in text.lower() else RIGHT


class FakeServer:
    """Serves in a thread inside `with`.

    Args:
        model: The name it lists.
        behaviour: Of chat completions that are no probe (which ask for few tokens); "down" answers those
            with 503 as well.
        slow: Seconds that "slow" takes.
    """

    def __init__(
        self,
        model: str = "fake",
        behaviour: Behaviour = "answers",
        *,
        reply: Callable[[str], str] = reply_to,
        slow: float = 30.0,
        port: int = 0,
    ) -> None:
        self.model = model
        self.behaviour: Behaviour = behaviour
        self.reply = reply
        self.slow = slow
        self.calls = 0
        self.seen: list[dict[str, Any]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._http.daemon_threads = True
        self._ending = threading.Event()

    @property
    def url(self) -> str:
        """Base URL, with its /v1."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def serve(self) -> None:
        """Serve in this thread."""
        self._http.serve_forever(poll_interval=0.02)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._http.shutdown()
        self._http.server_close()

    def answer(self, body: dict[str, Any]) -> tuple[int, bytes]:
        """Status and body of the answer to a chat completion request."""
        if self.behaviour == "down":
            return 503, b"{}"
        texts, tokens = _read(body)
        probing = body["max_tokens"] <= 24
        if not probing:
            self.calls += 1
            self.seen.append(body)
            if self.behaviour in ("400", "429", "500"):
                return int(self.behaviour), b'{"error": {"message": "as told"}}'
            if self.behaviour == "slow":
                self._ending.wait(self.slow)
            if self.behaviour == "garbage":
                return 200, b"<html>a proxy's page</html>"
        content = None if self.behaviour == "no text" and not probing else self.reply(texts)
        reason = "abort" if self.behaviour == "aborts" and not probing else "stop"
        answer = {
            "choices": [
                {"message": {"role": "assistant", "content": content}, "finish_reason": reason}
            ],
            "usage": {"prompt_tokens": tokens, "completion_tokens": 7},
        }
        return 200, json.dumps(answer).encode()


def _read(body: dict[str, Any]) -> tuple[str, int]:
    """All text of a request, and its tokens as the model family counts them."""
    texts, tokens = [], 10
    for message in body["messages"]:
        content = message["content"]
        parts: list[dict[str, Any]] = (
            [{"type": "text", "text": content}] if isinstance(content, str) else content
        )
        for part in parts:
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                with Image.open(io.BytesIO(data)) as image:
                    tokens += image.width * image.height // 1024 + 2
    return "\n".join(texts), tokens


def _handler(server: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

        def do_GET(self) -> None:
            self._send(200, json.dumps({"data": [{"id": server.model}]}).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(*server.answer(body))

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def main() -> None:
    """Serve until told to stop: `python -m pra_grpo_testing.server --port 8100 --model NAME`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--delay", type=float, default=0.0)
    options = parser.parse_args()
    time.sleep(options.delay)
    FakeServer(options.model, port=options.port).serve()


if __name__ == "__main__":
    main()
