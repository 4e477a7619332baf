"""An HTTP server whose answers fail in every way that a chat completions server's can, on request."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWER: Mapping[str, Any] = {
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "B"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 7, "completion_tokens": 1},
}
"""The answer without a fault."""


class FaultyServer:
    """Answers every POST with `ANSWER`, or with the fault that `plan` names for it.

    Attributes:
        plan: Maps a POST's number, from 0, to a name in `FAULTS`, or to None.
        posts: POSTs so far.
        most_active: Most POSTs under way at once.
        listing: The body for every GET.
    """

    def __init__(self) -> None:
        self.plan: Callable[[int], str | None] = lambda number: None
        self.posts = self.active = self.most_active = 0
        self.listing = json.dumps({"object": "list", "data": [{"id": "m"}]}).encode()
        self.over = threading.Event()
        self.lock = threading.Lock()
        self._http = _Quiet(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @contextmanager
    def running(self) -> Iterator[FaultyServer]:
        """Serve for the length of the block; hanging answers end with it."""
        thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.over.set()
            self._http.shutdown()
            self._http.server_close()


class _Quiet(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that have gone."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_: FaultyServer

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self.send(200, self.server_.listing)

    def do_POST(self) -> None:
        server = self.server_
        self.rfile.read(int(self.headers["Content-Length"]))
        with server.lock:
            number, server.posts = server.posts, server.posts + 1
            server.active += 1
            server.most_active = max(server.most_active, server.active)
        fault = server.plan(number)
        try:
            if fault is None:
                self.answer()
            else:
                FAULTS[fault](self)
        except OSError:
            self.close_connection = True  # the client has gone
        finally:
            with server.lock:
                server.active -= 1

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": str(len(body)), **named}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def answer(self, **changes: Any) -> None:
        self.send(200, json.dumps({**ANSWER, **changes}).encode())

    def choice(self, **changes: Any) -> None:
        self.answer(choices=[{**ANSWER["choices"][0], **changes}])

    def close(self) -> None:
        self.close_connection = True

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def hang(self) -> None:
        self.server_.over.wait()
        self.close()

    def chunks(self, piece: bytes, pause: float) -> None:
        """Send a body without an end."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while not self.server_.over.wait(pause):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.close()

    def cut(self) -> None:
        self.send(200, json.dumps(ANSWER).encode()[:-20], Content_Length="4000")
        self.close()


def _handler(server: FaultyServer) -> type[_Handler]:
    return type("Handler", (_Handler,), {"server_": server})


def _body(body: bytes, status: int = 200, **headers: str) -> Callable[[_Handler], None]:
    return lambda handler: handler.send(status, body, **headers)


def _busy(retry_after: str) -> Callable[[_Handler], None]:
    return _body(b'{"error": {"message": "slow down"}}', 429, Retry_After=retry_after)


_BOMB = gzip.compress(b" " * (80 << 20), 1)

FAULTS: Mapping[str, Callable[[_Handler], None]] = {
    "closed": _Handler.close,
    "reset": _Handler.reset,
    "cut": _Handler.cut,
    "hang": _Handler.hang,
    "drip": lambda handler: handler.chunks(b" ", 0.02),
    "endless": lambda handler: handler.chunks(b" " * (1 << 20), 0.0),
    "gzip bomb": _body(_BOMB, Content_Encoding="gzip"),
    "bad gzip": _body(b"no gzip", Content_Encoding="gzip"),
    "redirect": _body(b"", 307, Location="/v1/chat/completions"),
    "400": _body(b'{"error": {"message": "no such thing"}}', 400),
    "401": _body(b'{"error": {"message": "Incorrect API key provided: sk-very-secret"}}', 401),
    "500": _body(b"oops", 500),
    "503": _body(b'{"error": ' + b"[" * 200_000, 503),
    "429": _busy("0"),
    "429 for years": _busy("99999999"),
    "429 until 9999": _busy("Fri, 31 Dec 9999 23:59:59 -1200"),
    "429 until never": _busy("Fri, 31 Dec 99999 23:59:59 GMT"),
    "429 of digits": _busy("9" * 500),
    "429 of words": _busy("soon"),
    "no JSON": _body(b"<html>"),
    "half JSON": _body(b'{"choices": [{"message"'),
    "deep JSON": _body(b"[" * 200_000 + b"]" * 200_000),
    "deep answer": _body(b'{"a":' * 900 + b"1" + b"}" * 900),
    "huge number": _body(b'{"usage": ' + b"9" * 5000 + b"}"),
    "no UTF-8": _body(b'{"choices": "\xff\xfe"}'),
    "odd charset": _body(b"\xff", Content_Type="text/plain; charset=klingon"),
    "a list": _body(b"[]"),
    "no choices": lambda handler: handler.answer(choices=[]),
    "text for choices": lambda handler: handler.answer(choices="B"),
    "an error": lambda handler: handler.answer(error={"message": "overloaded"}),
    "no text": lambda handler: handler.choice(message={"content": ""}),
    "null": lambda handler: handler.choice(message=None),
    "aborted": lambda handler: handler.choice(finish_reason="abort"),
    "filtered": lambda handler: handler.choice(finish_reason="content_filter"),
}
"""Behaviour of the server instead of an answer, by name of the fault."""

ODD_USAGE: tuple[Any, ...] = (
    {"prompt_tokens": 2**63, "completion_tokens": -1},
    {"prompt_tokens": float("nan"), "completion_tokens": float("inf")},
    {"prompt_tokens": "7", "completion_tokens": [1], "prompt_tokens_details": 3},
    [],
    None,
    "many",
)
"""Values of `usage` that must spoil neither the answer nor the run."""
