"""Reading boxes out of a perceiver's text."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from p2r_bench.types import Box, ParseStatus

_FLAT_OBJECT = re.compile(r"\{[^{}]*\}")
_MAX_REASONS = 20


@dataclass(frozen=True)
class BoxReading:
    """What a perceiver's text holds.

    Attributes:
        boxes: The valid boxes, in the order of the text.
        status: See `Evidence.parse_status`.
        ignored: Why entries were left out, at most 20 reasons.
    """

    boxes: tuple[Box, ...]
    status: ParseStatus
    ignored: tuple[str, ...] = ()


def parse_boxes(text: str) -> tuple[Box, ...]:
    """The valid boxes in a perceiver's text; never raises, whatever the text.

    Rules of the published method (arXiv 2607.01191): a text that is one JSON value is taken as a whole
    (an object is a list of one, a list is filtered, anything nested deeper gives none); other text is
    searched for flat objects that hold `bbox_2d`, each parsed alone. A box has exactly four numbers
    (booleans pass) with x1 < x2 and y1 < y2; the range is not checked. Where the published code raises
    (NaN, infinity, null), the box is ignored.
    """
    return read_boxes(text).boxes


def read_boxes(text: str) -> BoxReading:
    """`parse_boxes` with the parse status and the reasons for what was ignored."""
    whole, value = _load(text.strip())
    if whole:
        entries = value if isinstance(value, list) else [value]
        if not entries:
            return BoxReading((), "empty")
    else:
        entries = []
        for match in _FLAT_OBJECT.finditer(text):
            if "bbox_2d" in match.group():
                parsed, value = _load(match.group())
                entries.append(value if parsed else "an object that is not JSON")
        if not entries:
            return BoxReading((), "unparsed")
    boxes: list[Box] = []
    ignored: list[str] = []
    for index, entry in enumerate(entries):
        box, reason = _box(entry)
        if box is not None:
            boxes.append(box)
        if reason is not None and len(ignored) < _MAX_REASONS:
            ignored.append(f"entry {index}: {reason}")
    return BoxReading(tuple(boxes), "boxes" if boxes else "invalid", tuple(ignored))


def _load(text: str) -> tuple[bool, Any]:
    try:
        return True, json.loads(text)
    except (ValueError, RecursionError):  # ValueError also covers integers of thousands of digits
        return False, None


def _box(entry: object) -> tuple[Box | None, str | None]:
    """A box and None, or a box and what is odd about it, or None and why there is no box."""
    if not isinstance(entry, dict):
        return None, "not an object"
    corners = entry.get("bbox_2d")
    if not isinstance(corners, list) or len(corners) != 4:
        return None, "bbox_2d is not a list of four numbers"
    numbers = []
    for corner in corners:
        if not isinstance(corner, (int, float)):
            return None, "bbox_2d holds something that is not a number"
        try:
            number = float(corner)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            return None, "bbox_2d holds a number that is not finite"
        numbers.append(number)
    x1, y1, x2, y2 = numbers
    if not (x1 < x2 and y1 < y2):
        return None, "x1 < x2 and y1 < y2 does not hold"
    label = entry.get("label")
    if label is not None and not isinstance(label, str):
        return Box((x1, y1, x2, y2)), "label is not text; the box is kept without it"
    return Box((x1, y1, x2, y2), label), None
