"""Model families: image sizes, visual tokens, box notation and special tokens of each.

A profile names a family. Third parties add one through the hook `register_families`.
"""

from __future__ import annotations

from functools import cache

from p2r_bench.families.base import Budget, Family
from p2r_bench.families.notation import BoxNotation

AUTO = "auto"
"""Name that a profile gives for the family of the checkpoint."""
DEFAULT = "qwen3-vl"
"""Family of the published checkpoints (arXiv 2607.01191). "auto" is this family if no checkpoint is known."""

__all__ = ["AUTO", "DEFAULT", "BoxNotation", "Budget", "Family", "family_serving", "find_family"]


def find_family(name: str) -> Family:
    """Return a registered family by its name; "auto" is the default family.

    Raises:
        UserError: No plugin registers the name; the message has the closest ones.
    """
    return _made(DEFAULT if name == AUTO else name)


def family_serving(model_type: str) -> Family | None:
    """Return the registered family that serves a `model_type` of config.json; None where none does."""
    from p2r_bench.plugins import discover

    families = map(find_family, discover().names("family"))
    return next((family for family in families if model_type in family.model_types), None)


@cache
def _made(name: str) -> Family:
    from p2r_bench.plugins import discover

    family: Family = discover().get("family", name)()
    return family
