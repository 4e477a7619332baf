"""Model families: image sizes, visual tokens, box notation and special tokens of each.

A profile names a family. Third parties add one through the hook `register_families`.
"""

from __future__ import annotations

from p2r_bench.families.base import Budget, Family
from p2r_bench.families.notation import BoxNotation

__all__ = ["BoxNotation", "Budget", "Family"]
