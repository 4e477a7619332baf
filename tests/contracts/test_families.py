"""The built-in families keep the contract that third-party families are held to."""

from __future__ import annotations

import pytest

from p2r_bench.plugins import registry
from p2r_bench.testing import FamilyContract


class TestBuiltIn(FamilyContract):
    @pytest.fixture(autouse=True, params=registry().names("family"))
    def named(self, request: pytest.FixtureRequest) -> None:
        self.family = request.param
