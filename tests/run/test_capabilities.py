"""Sizes that a server's processor leaves alone bind the families whose sizes are fixed, and no others."""

from __future__ import annotations

from typing import cast

import pytest

from p2r_bench.adapter import load_profile
from p2r_bench.errors import UserError
from p2r_bench.run.engines import check_capabilities
from p2r_bench.run.spec import EngineChoice
from p2r_bench.types import Capabilities, Engine


class Server:
    """A server whose sizes were checked with tiles of 32 pixels."""

    def capabilities(self) -> Capabilities:
        return Capabilities(factor=32, min_pixels=65_536, max_pixels=1_000_000)


def check(family: str) -> None:
    engines = {"perceive": cast(Engine, Server())}
    profile = load_profile("p2r").with_family(family)
    check_capabilities(engines, profile, {"perceive": EngineChoice("m", "openai")}, 4)


@pytest.mark.parametrize("family", ["server", "pixels-seen", "gemma"])
def test_a_family_that_leaves_sizes_to_the_server_is_accepted(family: str) -> None:
    check(family)


def test_a_family_of_other_tiles_is_refused_with_the_way_out() -> None:
    with pytest.raises(UserError, match=r"multiples of 28.*--family.*pixels=unchecked"):
        check("qwen2.5-vl")


def test_a_family_of_fixed_sizes_is_held_to_the_processors_limits() -> None:
    with pytest.raises(UserError, match="shrinks images above 1000000 pixels"):
        check("qwen3-vl")
