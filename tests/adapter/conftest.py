"""Probed samples of any size, without image bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from p2r_bench.types import ImageRef, Sample, Size

MakeSample = Callable[..., Sample]


@pytest.fixture(scope="session")
def make_sample() -> MakeSample:
    def make(size: Size = (1200, 800), orientation: int = 1, **changes: Any) -> Sample:
        values: dict[str, Any] = {
            "id": "row-1",
            "task": "HR-Bench",
            "image": ImageRef(data=b"", digest="d" * 64, size=size, orientation=orientation),
            "question": "What colour is the kite?",
            "options": {"A": "red", "B": "blue"},
            "answer": "B",
        }
        return Sample(**{**values, **changes})

    return make
