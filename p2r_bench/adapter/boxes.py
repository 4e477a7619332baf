"""Parsing of boxes in a perceiver's text, and validation of boxes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from p2r_bench.adapter.box_entries import Broken, Found, published_entries, tolerant_entries
from p2r_bench.adapter.thoughts import said
from p2r_bench.families import AUTO, BoxNotation, find_family
from p2r_bench.types import Box, ParseStatus, Size

if TYPE_CHECKING:
    from p2r_bench.adapter.profile import Profile

Corners = tuple[float, float, float, float]

_MAX_REASONS = 20

PUBLISHED = BoxNotation()
"""Notation of the published rule, whatever the family."""


@dataclass(frozen=True)
class BoxReading:
    """Boxes read from a perceiver's text.

    Attributes:
        boxes: The valid boxes, in the order of the text.
        status: See `Evidence.parse_status`.
        ignored: Reasons why entries were left out, at most 20.
    """

    boxes: tuple[Box, ...]
    status: ParseStatus
    ignored: tuple[str, ...] = ()


def parse_boxes(
    text: str, profile: Profile | None = None, size: Size | None = None
) -> tuple[Box, ...]:
    """Return the valid boxes in a perceiver's text; no text raises.

    The profile's `boxes` names the rule for entries; see `box_entries`. A box has exactly four finite numbers (booleans
    pass) with x1 < x2 and y1 < y2; the range is not checked.

    - "tolerant": thoughts are cut by the profile, every complete entry counts, and a box whose corners all lie within 0
      and 1 is invalid, as these are fractions, not thousandths.
    - "published": the rule of arXiv 2607.01191, on the whole text. Where its code raises (NaN, infinity, null), the box
      is left out.

    Args:
        profile: None stands for the default profile.
        size: Width and height in pixels of the image as sent; needed for families with boxes in pixels.
    """
    return read_boxes(text, profile, size).boxes


def read_boxes(text: str, profile: Profile | None = None, size: Size | None = None) -> BoxReading:
    """Parse boxes like `parse_boxes`, with the parse status and the reasons for ignored entries."""
    if profile is not None and profile.boxes == "published":
        found = published_entries(text.strip())
        return _reading((_box(entry, PUBLISHED, None) for entry in found.entries), found)
    notation = find_family(AUTO if profile is None else profile.family).boxes
    spoken = said(text, "cut" if profile is None else profile.thoughts)
    found = tolerant_entries(notation.as_json(spoken), notation.key)
    entries = (_box(entry, notation, size, fractions=False) for entry in found.entries)
    return _reading(entries, found)


def check_boxes(boxes: Iterable[Box]) -> BoxReading:
    """Check boxes from another source, such as the ground truth; those with unusable corners are ignored."""
    checked = ((box, valid_corners(box.xyxy)) for box in boxes)
    return _reading(
        (None, found) if isinstance(found, str) else (box, None) for box, found in checked
    )


def valid_corners(corners: Sequence[object]) -> Corners | str:
    """Return x1, y1, x2, y2 as finite floats with x1 < x2 and y1 < y2, or the reason why they are invalid."""
    if len(corners) != 4:
        return "not four numbers"
    numbers: list[float] = []
    for corner in corners:
        if not isinstance(corner, (int, float)):
            return "a corner is not a number"
        try:
            number = float(corner)
        except OverflowError:  # an integer beyond the range of floats
            number = math.inf
        if not math.isfinite(number):
            return "a corner is not finite"
        numbers.append(number)
    x1, y1, x2, y2 = numbers
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else "x1 < x2 and y1 < y2 does not hold"


def _reading(
    entries: Iterable[tuple[Box | None, str | None]], found: Found | None = None
) -> BoxReading:
    boxes: list[Box] = []
    ignored: list[str] = []
    count = 0
    for box, reason in entries:
        if box is not None:
            boxes.append(box)
        if reason is not None and len(ignored) < _MAX_REASONS:
            ignored.append(f"entry {count}: {reason}")
        count += 1
    if found is not None and found.cut_off and len(ignored) < _MAX_REASONS:
        ignored.append(f"entry {count}: cut off")
    status: ParseStatus = "boxes" if boxes else "invalid" if count else "empty"
    if status == "empty" and found is not None and not found.json:
        status = "unparsed"
    return BoxReading(tuple(boxes), status, tuple(ignored))


def _box(
    entry: object, notation: BoxNotation, size: Size | None, *, fractions: bool = True
) -> tuple[Box | None, str | None]:
    """Return a box and None, a box and a remark, or None and the reason why it is no box.

    Args:
        fractions: Accept corners that all lie within 0 and 1.
    """
    if isinstance(entry, Broken):
        return None, "not valid JSON"
    if not isinstance(entry, dict):
        return None, "not an object"
    key = notation.key
    if key not in entry:
        return None, f"no {key}"
    corners = entry[key]
    if not isinstance(corners, list):
        return None, f"{key} is not a list"
    found = valid_corners(notation.in_order(corners))
    if isinstance(found, str):
        return None, f"{key}: {found}"
    if not fractions and all(0 <= corner <= 1 for corner in found):
        return None, f"{key}: all corners lie within 0 and 1: fractions, not {notation.scale}"
    found = notation.in_thousandths(found, size)
    label = entry.get("label")
    if label is not None and not isinstance(label, str):
        return Box(found), "label is not text; the box is kept without it"
    return Box(found, None if label is None else _writable(label)), None


def _writable(text: str) -> str:
    """Replace lone surrogates, legal in JSON but not in UTF-8, by U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
