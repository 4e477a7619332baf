"""From what a contract names to the class behind it."""

from __future__ import annotations

from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.plugins import Kind, registry


def named(kind: Kind, target: Any) -> Any:
    """The class: `target` itself, or the one that an installed plugin registers under this name.

    Raises:
        UserError: Nothing registers the name.
    """
    if not isinstance(target, str):
        return target
    try:
        return registry().get(kind, target)
    except UserError as error:
        raise UserError(
            f"{error}. The contract names {target!r}, so its package has to be installed: pip install -e ."
        ) from None
