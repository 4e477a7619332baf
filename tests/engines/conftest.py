"""Fixtures of the engine tests: a random model and a local server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2r_bench.engines.scripted import ScriptedEngine
from p2r_bench.types import EngineConfig
from tests.engines.local_server import LocalServer
from tests.engines.tiny_model import make_model


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3-VL folder with random weights."""
    return make_model(tmp_path_factory.mktemp("model") / "random-qwen3-vl")


@pytest.fixture
def scripted_server() -> Iterator[LocalServer]:
    """A server that answers by a script; the test may set its faults."""
    with LocalServer(ScriptedEngine(EngineConfig("scripted")), model="scripted") as server:
        yield server
