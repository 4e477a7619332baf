"""A plugin that is registered beside the core for the length of a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from p2r_bench import __version__, plugins
from p2r_bench.testing import plugin_of


@contextmanager
def registered(distribution: str, **hooks: Callable[..., Any]) -> Iterator[None]:
    """Register only the core and a plugin with these hooks inside the block."""
    plugin = plugin_of(**hooks)
    found = plugins.load([plugins.Source(distribution, __version__, lambda: plugin)])
    with patch.object(plugins, "discover", lambda: found):
        yield
