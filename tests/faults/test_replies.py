"""Replies of any kind: every reader answers without an exception, and no crop lies outside the image."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from tests.faults.readers import FRAGMENTS, SHAPES, readers

READERS = readers()

NUMBERS = st.one_of(
    st.integers(-10, 1010),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.sampled_from([True, None, "7", "1e999", [], {}, 2**63, -0.0, 1e308]),
)
BOXES = st.lists(
    st.dictionaries(
        st.sampled_from(["bbox_2d", "box_2d", "label", "bbox"]),
        st.one_of(st.lists(NUMBERS, max_size=5), st.text(max_size=8), NUMBERS),
        max_size=3,
    ),
    max_size=6,
)


def spelled(value: object) -> str:
    try:
        return json.dumps(value)
    except ValueError:  # an integer of more digits than Python writes
        return "[1e999]"


REPLIES = st.lists(
    st.one_of(
        st.sampled_from(FRAGMENTS),
        st.text(max_size=12),
        st.text(st.characters(exclude_categories=()), max_size=6),
        st.builds(spelled, BOXES),
        st.builds(str, st.floats()),
        st.builds(str, st.integers(-(10**30), 10**30)),
    ),
    max_size=14,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(REPLIES)
def test_any_reply_is_read(text: str) -> None:
    for name, read in READERS.items():
        note(name)
        read(text)


@pytest.mark.parametrize("name", READERS)
def test_every_shape_is_read(name: str) -> None:
    for of_size in SHAPES.values():
        for size in (0, 1, 7, 300):
            READERS[name](of_size(size))
