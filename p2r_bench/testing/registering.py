"""Plugins that are registered in this process only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from p2r_bench import plugins


def plugin_of(**members: Any) -> ModuleType:
    """Return a plugin with these hooks (marked with `hookimpl`) and attributes, as a module would be one."""
    module = ModuleType("inline_plugin")
    vars(module).update(members)
    return module


@contextmanager
def registered(distribution: str = "inline-plugin", **hooks: Any) -> Iterator[plugins.Registry]:
    """Register hooks beside the built-in names inside the block; installed plugins are not loaded.

    Args:
        distribution: Name under which the plugin is reported.
        hooks: Functions that are marked with `hookimpl`, by the name of their hook.
    """
    plugin = plugin_of(**hooks)
    found = plugins.load([plugins.Source(distribution, "1", lambda: plugin)])
    before = plugins.discover
    plugins.discover = lambda: found  # type: ignore[assignment]
    try:
        yield found
    finally:
        plugins.discover = before
