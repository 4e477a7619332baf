"""Lookup of the class that a contract names."""

from __future__ import annotations

from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.plugins import Kind, Source, load, registry


def named(kind: Kind, target: Any, plugin: object = None) -> Any:
    """Return the class: `target` itself, or the one registered under this name.

    Args:
        plugin: The module with the plugin's hooks, which need not be installed; None for the installed plugins.

    Raises:
        UserError: Nothing registers the name, or the plugin fails.
    """
    if not isinstance(target, str):
        return target
    if plugin is None:
        try:
            return registry().get(kind, target)
        except UserError as error:
            hint = "install the package that registers it (pip install -e .), or give the contract its `plugin`"
            raise UserError(f"{error}; {hint}") from None
    name = getattr(plugin, "__name__", type(plugin).__name__)
    found = load([Source(name, "under test", lambda: plugin)])
    found.check()
    if found.failures:
        raise UserError("; ".join(found.failures))
    return found.get(kind, target)
