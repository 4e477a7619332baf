"""Seeds of calls: a run draws the same tokens in any order of its calls."""

from __future__ import annotations

import hashlib
from collections import Counter

from p2r_bench.types import Request


class CallSeeds:
    """Seeds for the calls of one sample, from the run's seed, the repeat and the call itself.

    Two equal requests of a sample get different seeds.
    """

    def __init__(self, seed: int, repeat: int) -> None:
        self._base = f"{seed}:{repeat}"
        self._asked: Counter[str] = Counter()

    def seeded(self, request: Request) -> Request:
        """Return the request with a seed; a seed set by the mode is kept."""
        if request.sampling.seed is not None:
            return request
        times = self._asked[request.digest]
        self._asked[request.digest] += 1
        text = f"{self._base}:{request.sample_id}:{request.digest}:{times}"
        return request.with_seed(
            int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
        )
