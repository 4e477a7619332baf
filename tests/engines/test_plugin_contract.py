"""The built-in engines keep the contract that third-party engines are held to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from p2r_bench.engines.scripted import ScriptedEngine
from p2r_bench.plugins import registry
from p2r_bench.testing import EngineContract
from p2r_bench.types import EngineConfig
from tests.engines.local_server import LocalServer
from tests.engines.tiny_model import make_model


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3-VL folder with random weights."""
    return make_model(tmp_path_factory.mktemp("model") / "random-qwen3-vl")


class TestScripted(EngineContract):
    engine = ScriptedEngine


class TestTransformers(EngineContract):
    engine = "transformers"
    args = {"device": "cpu", "threads": "1"}  # noqa: RUF012

    @pytest.fixture(autouse=True)
    def folder(self, model_folder: Path) -> None:
        self.model = str(model_folder)


class TestOpenAI(EngineContract):
    engine = "openai"
    model = "scripted"

    @pytest.fixture(autouse=True)
    def server(self) -> Iterator[None]:
        with LocalServer(ScriptedEngine(EngineConfig("scripted")), model="scripted") as server:
            self.args = {"base_url": server.url, "pixels": "unchecked"}
            yield


def test_every_engine_is_held_to_the_contract() -> None:
    named = {c.engine for c in EngineContract.__subclasses__() if c.__module__ == __name__}
    assert named - {ScriptedEngine} | {"vllm"} == set(registry().names("engine"))
    elsewhere = Path(__file__).parents[1] / "vllm" / "test_contract.py"  # needs another environment
    assert 'engine = "vllm"' in elsewhere.read_text("utf-8")
