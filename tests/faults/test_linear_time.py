"""Reading a reply takes time in proportion to its length, whatever it holds."""

from __future__ import annotations

import time

import pytest

from tests.faults.readers import SHAPES, Reader, readers

READERS = readers()
SMALL, LARGE = 1 << 13, 1 << 16
"""Characters. Time in proportion is 8 times as much for the larger text, and quadratic time 64 times."""
MOST = 24
NEGLIGIBLE_S = 0.01
"""Processor time for the larger text that is not compared: quadratic or not, a megabyte takes seconds at most."""


def seconds(reader: Reader, text: str) -> float:
    begun = time.process_time()
    reader(text)
    return time.process_time() - begun


@pytest.mark.parametrize("name", READERS)
def test_a_text_eight_times_as_long_does_not_take_sixty_times_as_long(name: str) -> None:
    reader = READERS[name]
    reader("")
    for shape, of_size in SHAPES.items():
        text = of_size(LARGE)
        long = seconds(reader, text)
        if long > NEGLIGIBLE_S:
            short = max(seconds(reader, of_size(SMALL)) for _ in range(2))
            long = min(long, seconds(reader, text))
            assert long < max(MOST * short, NEGLIGIBLE_S), (shape, short, long)
