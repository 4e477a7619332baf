"""Samples of an epoch, and their order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from p2r_bench.types import Sample


def mixed(sources: Sequence[Sequence[Sample]], weights: Sequence[float], seed: int) -> list[Sample]:
    """Return the samples of an epoch, each source as often as its weight says.

    Weight 1 gives every row once, 2 every row twice, and 0.5 half of the rows, which `seed` draws. With several sources,
    ids start with the source's number, so that they stay unique.
    """
    epoch: list[Sample] = []
    for number, (samples, weight) in enumerate(zip(sources, weights, strict=True)):
        named = list(samples)
        if len(sources) > 1:
            named = [replace(s, id=f"{number}:{s.id}") for s in named]
        count = max(round(weight * len(named)), 1)
        whole, rest = divmod(count, len(named))
        epoch += named * whole
        chosen = set(_shuffled(range(len(named)), f"{seed}:{number}")[:rest])
        epoch += [sample for place, sample in enumerate(named) if place in chosen]
    return epoch


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """Return the order of `count` samples in an epoch, counted from 0; the same on every machine."""
    return _shuffled(range(count), f"{seed}:epoch:{epoch}")


def _shuffled(places: Sequence[int], key: str) -> list[int]:
    return sorted(places, key=lambda n: hashlib.sha256(f"{key}:{n}".encode()).digest())
