"""The core's scripted engine, registered under the name "scripted" for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from p2r_bench import hookimpl
from p2r_bench.hookspecs import Register
from pra_grpo_testing.registering import registered


@hookimpl
def register_engines(register: Register) -> None:
    register("scripted", "p2r_bench.engines.scripted:ScriptedEngine")


@contextmanager
def scripted_engine() -> Iterator[None]:
    """Register only the core and the scripted engine inside the block."""
    with registered("scripted", register_engines=register_engines):
        yield
