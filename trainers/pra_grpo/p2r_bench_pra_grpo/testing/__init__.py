"""For tests of backends and rounds: tiny data, a backend without a model, a server without a model."""

from __future__ import annotations

from p2r_bench_pra_grpo.testing.backend import ScriptedBackend
from p2r_bench_pra_grpo.testing.data import (
    tiny_training,
    write_interpreter,
    write_model,
    write_p2r10k,
)
from p2r_bench_pra_grpo.testing.engine import scripted_engine
from p2r_bench_pra_grpo.testing.server import FakeServer

__all__ = [
    "FakeServer",
    "ScriptedBackend",
    "scripted_engine",
    "tiny_training",
    "write_interpreter",
    "write_model",
    "write_p2r10k",
]
