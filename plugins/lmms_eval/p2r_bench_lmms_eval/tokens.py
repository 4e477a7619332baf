"""Tokens of a prediction as lmms-eval counts them."""

from __future__ import annotations

from p2r_bench.types import Prediction


def token_counts(prediction: Prediction) -> dict[str, int]:
    """Return token counts over all calls, by lmms-eval's names; a count is left out if a call lacks it."""
    counts = {}
    for ours, theirs in (("prompt_tokens", "input_tokens"), ("output_tokens", "output_tokens")):
        values = [getattr(completion, ours) for completion in prediction.completions]
        if values and None not in values:
            counts[theirs] = sum(values)
    return counts
