"""Errors of the hub's own client, from real connections, become one message with the ways out."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class Refusing(BaseHTTPRequestHandler):
    """Answers as the hub does; the owner's name says how."""

    def do_GET(self) -> None:
        owner = next(part for part in self.path.split("/") if part in ANSWERS)
        status, code = ANSWERS[owner]
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None: ...


ANSWERS = {
    "gated": (403, "GatedRepo"),
    "absent": (401, "RepoNotFound"),
    "moved": (404, "RevisionNotFound"),
    "forbidden": (403, ""),
}


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


PROGRAM = """
from p2r_bench.errors import UserError
from p2r_bench.hub import dataset_commit, download
try:
    {call}
except UserError as error:
    print(error)
"""


def refused(call: str, endpoint: str, folder: Path, offline: str = "0") -> str:
    """The message of a call that fails, in a process with this hub."""
    shown = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(call=call)],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder),
            "HF_HUB_OFFLINE": offline,
        },
        timeout=120,
    )
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


NOWHERE = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("owner", "parts"),
    [
        ("gated", ("is gated", "accept its conditions at", "HF_TOKEN")),
        ("absent", ("no such dataset, or it is private", "HF_TOKEN")),
        ("moved", ("has no revision 'v9'",)),
        ("forbidden", ("403", "HF_TOKEN")),
    ],
)
def test_a_refusal_of_the_hub_names_what_to_do(
    hub: str, owner: str, parts: tuple[str, ...], tmp_path: Path
) -> None:
    text = refused(f"dataset_commit('{owner}/data', 'v9')", hub, tmp_path)
    assert text.startswith(f"{owner}/data@v9 could not be fetched: ")
    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    ("call", "option"),
    [
        ("dataset_commit('owner/name')", "--data-dir DIR"),
        ("download('dataset', 'owner/name', ['*'])", "--data-dir DIR"),
        ("download('model', 'owner/name', ['*'])", "--model DIR"),
    ],
)
def test_without_a_network_the_files_can_come_from_elsewhere(
    call: str, option: str, tmp_path: Path
) -> None:
    text = refused(call, NOWHERE, tmp_path)
    for part in (f"the hub at {NOWHERE} cannot be reached", "hf download", option, "HF_ENDPOINT"):
        assert part in text


def test_an_offline_setting_is_named(tmp_path: Path) -> None:
    text = refused("download('model', 'owner/name', ['*'])", NOWHERE, tmp_path, offline="1")
    assert "HF_HUB_OFFLINE is set" in text and "--model DIR" in text
