"""Plugins that are registered in this process only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

from p2r_bench import families
from p2r_bench.families import Family


def plugin_of(**members: Any) -> ModuleType:
    """Return a module that is a plugin with these hooks (marked with `hookimpl`) and attributes."""
    module = ModuleType("inline_plugin")
    vars(module).update(members)
    return module


@contextmanager
def registered_family(family: Family) -> Iterator[Family]:
    """Register a model family inside the block."""
    others = families._made

    def made(name: str) -> Family:
        return family if name == family.name else others(name)

    with patch.object(families, "_made", made):
        yield family
