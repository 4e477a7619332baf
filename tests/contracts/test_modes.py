"""The built-in modes keep the contract that third-party modes are held to."""

from __future__ import annotations

from p2r_bench.plugins import registry
from p2r_bench.testing import ModeContract


class TestDefault(ModeContract):
    mode = "default"


class TestThinking(ModeContract):
    mode = "thinking"


class TestP2R(ModeContract):
    mode = "p2r"


class TestP2RWithTheTinyProfile(ModeContract):
    mode = "p2r"
    profile = "tiny"


class TestOracle(ModeContract):
    mode = "oracle"


class TestBlind(ModeContract):
    mode = "blind"


class TestCropOnly(ModeContract):
    mode = "crop-only"


class TestP2RFull(ModeContract):
    mode = "p2r-full"


class TestP2RBlank(ModeContract):
    mode = "p2r-blank"


class TestP2RRandom(ModeContract):
    mode = "p2r-random"


class TestP2RShuffled(ModeContract):
    mode = "p2r-shuffled"


def test_every_mode_is_held_to_the_contract() -> None:
    assert {c.mode for c in ModeContract.__subclasses__() if c.__module__ == __name__} == set(
        registry().names("mode")
    )
