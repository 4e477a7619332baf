"""`p2r-shuffled`: p2r on the same questions with their options in another order."""

from __future__ import annotations

import random
from dataclasses import replace

from p2r_bench.modes.p2r import P2R
from p2r_bench.types import Sample


class P2RShuffled(P2R):
    """Control: the options of a choice question are permuted before the run. A change against p2r is position bias.

    Args:
        seed: Seed of the order, combined with the sample's id.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def prepare(self, sample: Sample) -> Sample:
        """Return the sample with its options permuted and the right letter moved with its text."""
        if sample.answer not in sample.options:
            return sample
        letters = list(sample.options)
        order = random.Random(f"{self._seed}:{sample.id}").sample(letters, len(letters))
        return replace(
            sample,
            options={
                letter: sample.options[old] for letter, old in zip(letters, order, strict=True)
            },
            answer=letters[order.index(sample.answer)],
            published_question=None,
        )
