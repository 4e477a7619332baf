"""The notation in which a model family writes boxes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

from p2r_bench.types import Box, Size

Form = Literal["json", "box_tokens", "box_tags"]
Scale = Literal["thousandths", "pixels"]
Corners = tuple[float, float, float, float]

_TAGGED = re.compile(r"(?:<ref>([^<]*)</ref>\s*)?<box>([^<]*)")
_FLAT = re.compile(r"\[[^\[\]{}]*\]")
_MOST_TAGS = 10_000
_BOX_TOKENS = ("<|begin_of_box|>", "<|end_of_box|>")


@dataclass(frozen=True)
class BoxNotation:
    """Key, order, scale and form of boxes.

    Attributes:
        key: Key of the corners in a JSON object.
        order: "xyxy" for x1, y1, x2, y2; "yxyx" for y1, x1, y2, x2.
        scale: "thousandths" of the image, or "pixels" of the image as it was sent.
        form: "json": a list of objects. "box_tokens": the same between `<|begin_of_box|>` and `<|end_of_box|>`; lists
            of corners without a label also occur. "box_tags": `<ref>label</ref><box>[[x1, y1, x2, y2]]</box>`.
    """

    key: str = "bbox_2d"
    order: Literal["xyxy", "yxyx"] = "xyxy"
    scale: Scale = "thousandths"
    form: Form = "json"

    @property
    def rules(self) -> Mapping[str, Any]:
        """Return the fields, for the hash of a profile."""
        return asdict(self)

    @property
    def schema(self) -> dict[str, Any] | None:
        """Return the JSON schema of a list of boxes; None where the form is not JSON."""
        if self.form != "json":
            return None
        corner = {"type": "number"}
        corners = {"type": "array", "items": corner, "minItems": 4, "maxItems": 4}
        return {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {self.key: corners, "label": {"type": "string"}},
                "required": [self.key, "label"],
                "additionalProperties": False,
            },
        }

    @property
    def example(self) -> str:
        """Return one entry for the prompt, with names such as x1 instead of numbers."""
        corners = ", ".join(
            ("x1", "y1", "x2", "y2") if self.order == "xyxy" else ("y1", "x1", "y2", "x2")
        )
        if self.form == "box_tags":
            return f"<ref>what it shows</ref><box>[[{corners}]]</box>"
        return f'[{{"{self.key}": [{corners}], "label": "what it shows"}}]'

    def write(self, boxes: Iterable[Box], size: Size) -> str:
        """Return boxes as a model of the family writes them.

        Args:
            size: Width and height in pixels of the image as sent.
        """
        written = [(self._from_thousandths(box.xyxy, size), box.label or "") for box in boxes]
        if self.form == "box_tags":
            return "\n".join(
                f"<ref>{label}</ref><box>[{json.dumps(corners)}]</box>"
                for corners, label in written
            )
        text = json.dumps(
            [{self.key: corners, "label": label} for corners, label in written], ensure_ascii=False
        )
        return text.join(_BOX_TOKENS) if self.form == "box_tokens" else text

    def in_order(self, values: Sequence[object]) -> Sequence[object]:
        """Return four values as x1, y1, x2, y2; any other number of values is returned unchanged."""
        if self.order == "xyxy" or len(values) != 4:
            return values
        y1, x1, y2, x2 = values
        return x1, y1, x2, y2

    def in_thousandths(self, corners: Corners, size: Size | None) -> Corners:
        """Return x1, y1, x2, y2 in thousandths of the image.

        Args:
            corners: x1, y1, x2, y2 in the notation's scale.
            size: Width and height in pixels of the image as sent; only needed where the scale is pixels.

        Raises:
            ValueError: The size is needed but missing.
        """
        x1, y1, x2, y2 = corners
        if self.scale == "thousandths":
            return corners
        if size is None:
            raise ValueError("boxes in pixels need the size of the image as sent")
        across, down = 1000 / size[0], 1000 / size[1]
        return x1 * across, y1 * down, x2 * across, y2 * down

    def as_json(self, text: str) -> str:
        """Return a reply with its boxes as JSON objects of this notation's key; JSON replies are returned unchanged.

        Every whole list of corners counts, also in a reply that the token limit cut off.
        """
        if self.form == "box_tags":
            found = [match.groups() for match in islice(_TAGGED.finditer(text), _MOST_TAGS)]
            if found:
                return "\n".join(self._objects(boxes, label or None) for label, boxes in found)
        if self.form == "box_tokens":
            parts = list(_between(text, *_BOX_TOKENS)) or [text]
            return "\n".join(
                part if "{" in part or not _FLAT.search(part) else self._objects(part, None)
                for part in parts
            )
        return text

    def _objects(self, lists: str, label: str | None) -> str:
        """Return the flat lists in a text as a JSON list of objects; an empty list stays one."""
        flat = [_value(part) for part in _FLAT.findall(lists)]
        entries = [{self.key: corners, "label": label} for corners in flat if corners != []]
        return json.dumps(entries, ensure_ascii=False)

    def _from_thousandths(self, corners: Corners, size: Size) -> list[float]:
        x1, y1, x2, y2 = corners
        if self.scale == "pixels":
            across, down = size[0] / 1000, size[1] / 1000
            x1, y1, x2, y2 = (
                round(value) for value in (x1 * across, y1 * down, x2 * across, y2 * down)
            )
        return [x1, y1, x2, y2] if self.order == "xyxy" else [y1, x1, y2, x2]


def _between(text: str, begin: str, end: str) -> Iterator[str]:
    """Yield the parts of a text between two marks; the last part may lack its end."""
    place = text.find(begin)
    while place >= 0:
        start = place + len(begin)
        stop = text.find(end, start)
        yield text[start:] if stop < 0 else text[start:stop]
        place = -1 if stop < 0 else text.find(begin, stop)


def _value(text: str) -> Any:
    """Return the value of a JSON list, or the text itself if it is not valid JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text
