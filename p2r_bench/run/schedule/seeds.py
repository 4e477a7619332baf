"""Seeds of calls: the same run draws the same tokens, however its calls are ordered in time."""

from __future__ import annotations

import hashlib
from collections import Counter

from p2r_bench.types import Request


class CallSeeds:
    """Gives every call of one sample a seed from the run's seed, the repeat and the call itself.

    A mode that asks the same thing twice gets two seeds.
    """

    def __init__(self, seed: int, repeat: int) -> None:
        self._base = f"{seed}:{repeat}"
        self._asked: Counter[str] = Counter()

    def seeded(self, request: Request) -> Request:
        """The request with a seed, which it keeps if the mode has set one."""
        if request.sampling.seed is not None:
            return request
        times = self._asked[request.digest]
        self._asked[request.digest] += 1
        text = f"{self._base}:{request.sample_id}:{request.digest}:{times}"
        return request.with_seed(
            int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
        )
