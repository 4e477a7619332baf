"""The trainer keeps what `p2r-bench train` relies on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import p2r_bench_pra_grpo
import pytest
from p2r_bench_pra_grpo.trainer import PRAGRPO
from pra_grpo_testing import tiny_training

from p2r_bench.testing import TrainerContract


@pytest.mark.usefixtures("scripted")
class TestPRAGRPO(TrainerContract):
    trainer = PRAGRPO

    def config(self, folder: Path) -> Mapping[str, Any]:
        values = tiny_training(folder.parent / "given", out=str(folder))
        return values


def test_the_hook_names_the_trainer() -> None:
    told: dict[str, str] = {}
    p2r_bench_pra_grpo.register_trainers(register=told.__setitem__)
    assert told == {"pra-grpo": "p2r_bench_pra_grpo.trainer:PRAGRPO"}
