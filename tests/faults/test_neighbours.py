"""A busy neighbour takes its share of the processor and no more."""

from __future__ import annotations

import os
import sys

import pytest

from p2r_bench.engines.transformers import TransformersEngine
from p2r_bench.errors import UserError
from p2r_bench.types import EngineConfig


@pytest.mark.parametrize("chosen", [None, "ACTIVE"])
def test_threads_sleep_while_they_wait_unless_the_user_chose(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")  # restored at the end
    if chosen is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setitem(sys.modules, "torch", None)  # stops at the import
    with pytest.raises(UserError, match="cannot be imported"):
        TransformersEngine(EngineConfig("m"))._load()
    assert os.environ["OMP_WAIT_POLICY"] == (chosen or "PASSIVE")
