"""Reading boxes out of a perceiver's text, and telling usable boxes from others."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from p2r_bench.types import Box, ParseStatus

Corners = tuple[float, float, float, float]

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
        return _reading(_box(entry) for entry in (value if isinstance(value, list) else [value]))
    flat = [m.group() for m in _FLAT_OBJECT.finditer(text) if "bbox_2d" in m.group()]
    if not flat:
        return BoxReading((), "unparsed")
    parsed = (_load(part) for part in flat)
    return _reading(_box(value) if valid else (None, "not valid JSON") for valid, value in parsed)


def check_boxes(boxes: Iterable[Box]) -> BoxReading:
    """The same for boxes known otherwise, such as the ground truth: those with unusable corners are ignored."""
    checked = ((box, valid_corners(box.xyxy)) for box in boxes)
    return _reading(
        (None, found) if isinstance(found, str) else (box, None) for box, found in checked
    )


def valid_corners(corners: Sequence[object]) -> Corners | str:
    """x1, y1, x2, y2 as finite floats with x1 < x2 and y1 < y2, or why they are no box."""
    if len(corners) != 4:
        return "not four numbers"
    numbers: list[float] = []
    for corner in corners:
        if not isinstance(corner, (int, float)):
            return "a corner is not a number"
        try:
            number = float(corner)
        except OverflowError:  # an integer beyond the floats
            number = math.inf
        if not math.isfinite(number):
            return "a corner is not finite"
        numbers.append(number)
    x1, y1, x2, y2 = numbers
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else "x1 < x2 and y1 < y2 does not hold"


def _reading(entries: Iterable[tuple[Box | None, str | None]]) -> BoxReading:
    boxes: list[Box] = []
    ignored: list[str] = []
    count = 0
    for box, reason in entries:
        if box is not None:
            boxes.append(box)
        if reason is not None and len(ignored) < _MAX_REASONS:
            ignored.append(f"entry {count}: {reason}")
        count += 1
    status: ParseStatus = "boxes" if boxes else "invalid" if count else "empty"
    return BoxReading(tuple(boxes), status, tuple(ignored))


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
    if not isinstance(corners, list):
        return None, "bbox_2d is not a list"
    found = valid_corners(corners)
    if isinstance(found, str):
        return None, f"bbox_2d: {found}"
    label = entry.get("label")
    if label is not None and not isinstance(label, str):
        return Box(found), "label is not text; the box is kept without it"
    return Box(found, None if label is None else _writable(label)), None


def _writable(text: str) -> str:
    """Lone surrogates, legal in JSON but in no UTF-8 file, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
