"""A frozen reasoner: the bundled model behind a real HTTP server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from local_server import LocalServer

from p2r_bench.bundled import resolve_model
from p2r_bench.engines.transformers import TransformersEngine
from p2r_bench.types import EngineConfig

NAME = "p2r-tiny"


@contextmanager
def served_reasoner() -> Iterator[dict[str, Any]]:
    """`Frozen.at` of the trained bundled model."""
    engine = TransformersEngine(EngineConfig(resolve_model(NAME), args={"threads": "1"}))
    with LocalServer(engine, NAME) as server:
        yield {"name": "the frozen reasoner", "urls": [server.url], "model": NAME}
