"""The vllm engine keeps the contract that third-party engines are held to."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from p2r_bench.testing import EngineContract
from tests.vllm.conftest import ARGS, Loop

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]


class TestVLLM(EngineContract):
    engine = "vllm"
    model = "p2r-tiny"
    args = ARGS

    @pytest.fixture(autouse=True)
    def one_vllm(self, loop: Loop, engines: dict[str, Any]) -> None:
        self._loop = loop

    def in_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run(work)
