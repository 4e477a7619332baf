"""The core's scripted engine, registered under the name "scripted" for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

from p2r_bench import hookimpl, plugins
from p2r_bench.hookspecs import Register


@hookimpl
def register_engines(register: Register) -> None:
    register("scripted", "p2r_bench.engines.scripted:ScriptedEngine")


@contextmanager
def scripted_engine() -> Iterator[None]:
    """Only the core and the scripted engine are registered inside."""
    plugin = SimpleNamespace(register_engines=register_engines)
    found = plugins.load([plugins.Source("scripted", "1", lambda: plugin)])
    before = plugins.discover
    plugins.discover = lambda: found  # type: ignore[assignment]
    try:
        yield
    finally:
        plugins.discover = before
