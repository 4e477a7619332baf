"""For tests of backends and rounds: tiny data, a backend without a model, a server without a model."""

from __future__ import annotations

from pra_grpo_testing.backend import ScriptedBackend
from pra_grpo_testing.data import (
    tiny_training,
    write_interpreter,
    write_model,
    write_p2r10k,
)
from pra_grpo_testing.engine import scripted_engine
from pra_grpo_testing.server import FakeServer

__all__ = [
    "FakeServer",
    "ScriptedBackend",
    "scripted_engine",
    "tiny_training",
    "write_interpreter",
    "write_model",
    "write_p2r10k",
]
