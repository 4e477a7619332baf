"""Garbage collection during a run: seldom, because rows leave no cycles behind."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

ALLOCATIONS = 10_000
"""Container objects, made and not freed, after which the youngest generation is looked through; Python's own value is 700."""


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """What is there already is not looked through until the end, and what comes less often than usual.

    Thousands of samples, requests and rows are alive at once; walking them again and again takes a tenth of a run over
    small images. A switched-off collector stays off.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(max(ALLOCATIONS, before[0]) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
