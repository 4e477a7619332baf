"""A small real HTTP server with the chat completions API in front of any engine, with faults on demand."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

from p2r_bench.errors import EngineError
from p2r_bench.types import Completion, Engine, Message, Recipe, Request, Sampling

STANDARD = {
    "model", "messages", "temperature", "top_p", "max_tokens", "seed", "stop",
    "presence_penalty", "frequency_penalty", "n", "stream", "response_format",
}  # fmt: skip
EXTRA = {"repetition_penalty", "top_k", "min_p"}


@dataclass
class Fault:
    """A fault that one chat request meets instead of an answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    drop: bool = False
    piece: int = 0
    """Bytes of the body sent at a time, twenty times a second; 0 for all at once."""
    until_active: int = 0
    """Number of simultaneous requests to wait for, at most five seconds."""


class LocalServer:
    """Serves `engine` at `url`.

    Attributes:
        bodies: JSON of every chat request, in order of arrival.
        headers: Those of every request, listings included.
        paths: Path and query of every request.
        listing: Taken from the left instead of a listing of models, while there are any.
        faults: Taken from the left, one for each chat request while there are any.
        known: Fields it accepts; others are refused with 422, as `transformers serve` does.
        pixels: Maps an image size to the one its processor would make; prompt tokens follow.
        factor: Side in pixels of a visual token.
        rewrite: Changes the JSON of an answer.
        most_images: Requests with more are refused.
        schemas: Whether it follows JSON schemas (of objects whose properties are enumerations).
    """

    def __init__(self, engine: Engine, model: str, **models: Any) -> None:
        self.engine = engine
        self.models: list[dict[str, Any]] = [{"id": model, "object": "model", **models}]
        self.bodies: list[dict[str, Any]] = []
        self.arrivals: list[float] = []
        self.faults: deque[Fault] = deque()
        self.fault_at: dict[int, Fault] = {}
        self.listing: deque[Fault] = deque()
        self.headers: list[Mapping[str, str]] = []
        self.paths: list[str] = []
        self.known = STANDARD | EXTRA
        self.pixels: Callable[[tuple[int, int]], tuple[int, int]] = lambda size: size
        self.factor = 32
        self.rewrite: Callable[[dict[str, Any]], Any] = lambda answer: answer
        self.most_images = 100
        self.schemas = False
        self.active = self.most_active = 0
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> LocalServer:
        for target in (self._loop.run_forever, self._http.serve_forever):
            threading.Thread(target=target, daemon=True).start()
        self.run(self.engine.start())
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self.run(self.engine.close())
        self._loop.call_soon_threadsafe(self._loop.stop)

    def fail_next(self, faults: Mapping[int, Fault]) -> None:
        """Let chat requests meet faults, by how many come before them from now on."""
        self.fault_at = {len(self.bodies) + number: fault for number, fault in faults.items()}

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def chat(self, body: dict[str, Any]) -> tuple[int, Any]:
        if unknown := body.keys() - self.known:
            return 422, {"detail": f"Unexpected fields in the request: {unknown}"}
        if body["model"] not in {entry["id"] for entry in self.models}:
            return 404, {"error": {"message": f"The model {body['model']} does not exist."}}
        if self.schemas and "response_format" in body:
            schema = body["response_format"]["json_schema"]["schema"]
            answer = {name: value["enum"][0] for name, value in schema["properties"].items()}
            return 200, answer_of(Completion(json.dumps(answer)), body["model"], 0)
        request, images = read_request(body)
        if len(images) > self.most_images:
            return 400, {
                "error": {"message": f"At most {self.most_images} image(s) may be provided"}
            }
        try:
            completion = self.run(self.engine.generate(request, images))
        except EngineError as error:
            return 400, {"error": {"message": str(error)}}
        seen = [self.pixels(image.size) for image in images]
        extra = sum(w * h // self.factor**2 for w, h in seen) - (request.visual_tokens or 0)
        return 200, self.rewrite(answer_of(completion, body["model"], extra))

    def _handler(server) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None: ...

            def do_GET(self) -> None:
                server.headers.append(dict(self.headers))
                server.paths.append(self.path)
                if server.listing:
                    fault = server.listing.popleft()
                    self.reply(fault.status, fault.body, fault.headers)
                    return
                self.reply(200, json.dumps({"object": "list", "data": server.models}).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    server.headers.append(dict(self.headers))
                    server.paths.append(self.path)
                    server.bodies.append(body)
                    server.arrivals.append(time.monotonic())
                    server.active += 1
                    server.most_active = max(server.most_active, server.active)
                    fault = server.fault_at.pop(len(server.bodies) - 1, None)
                    if fault is None and server.faults:
                        fault = server.faults.popleft()
                try:
                    status, answer, headers = self.outcome(fault, body)
                finally:
                    with server._lock:
                        server.active -= 1
                if fault and fault.drop:
                    self.close_connection = True
                    return
                try:
                    self.reply(status, answer, headers, fault.piece if fault else 0)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True  # the client has gone

            def outcome(
                self, fault: Fault | None, body: Any
            ) -> tuple[int, bytes, Mapping[str, str]]:
                if fault is None:
                    status, answer = server.chat(body)
                    return status, json.dumps(answer).encode(), {}
                time.sleep(fault.delay_s)
                end = time.monotonic() + 5
                while server.most_active < fault.until_active and time.monotonic() < end:
                    time.sleep(0.005)
                return fault.status, fault.body, fault.headers

            def reply(
                self, status: int, body: bytes, headers: Mapping[str, str] = {}, piece: int = 0
            ) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                for start in range(0, len(body), piece or len(body) or 1):
                    if piece:
                        time.sleep(0.05)
                    self.wfile.write(body[start : start + (piece or len(body))])

        return Handler


def read_request(body: Mapping[str, Any]) -> tuple[Request, list[Image.Image]]:
    """The request in a chat body, with its images decoded."""
    images: list[Image.Image] = []
    messages = []
    for message in body["messages"]:
        content = message["content"]
        parts: list[str | Recipe] = []
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if part["type"] == "text":
                parts.append(part["text"])
                continue
            head, _, data = part["image_url"]["url"].partition(",")
            assert head == "data:image/png;base64"
            image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
            image.load()
            images.append(image)
            parts.append(_recipe(data[-200:], image.size))
        messages.append(Message(message["role"], tuple(parts)))
    sampling = Sampling(
        temperature=body.get("temperature", 1.0),
        top_p=body.get("top_p", 1.0),
        top_k=max(0, body.get("top_k", 0)),
        min_p=body.get("min_p", 0.0),
        repetition_penalty=body.get("repetition_penalty", 1.0),
        presence_penalty=body.get("presence_penalty", 0.0),
        frequency_penalty=body.get("frequency_penalty", 0.0),
        max_tokens=body.get("max_tokens", body.get("max_completion_tokens", 16)),
        seed=body.get("seed"),
        stop=tuple(body.get("stop") or ()),
    )
    return Request("served", "answer", tuple(messages), sampling), images


def reply(*, finish_reason: Any = "stop", **message: Any) -> dict[str, Any]:
    """The JSON of an answer with this message."""
    return {
        "choices": [{"message": {"role": "assistant", **message}, "finish_reason": finish_reason}]
    }


def answer_of(completion: Completion, model: str, extra_tokens: int) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": completion.text},
                "finish_reason": completion.finish_reason,
            }
        ],
        "usage": {
            "prompt_tokens": (completion.prompt_tokens or 0) + extra_tokens,
            "completion_tokens": completion.output_tokens,
            "total_tokens": 0,
            "prompt_tokens_details": {"cached_tokens": completion.cached_tokens},
        },
    }


def _recipe(source: str, size: tuple[int, int]) -> Recipe:
    tokens = size[0] * size[1] // 1024
    return Recipe(source, "apply", "white", (), None, (size,), visual_tokens=tokens)
