"""Comparison of the calls of evaluation, reward and trainers: text, pixels, and sampling where it must be equal.

Every side gives `Rendered` calls for the same samples and boxes; `differences` compares two of them.
"""

from __future__ import annotations

from pra_grpo_testing.parity.rendered import Calls, Rendered, differences, rendered
from pra_grpo_testing.parity.samples import boxes_for, parity_samples

__all__ = ["Calls", "Rendered", "boxes_for", "differences", "parity_samples", "rendered"]
