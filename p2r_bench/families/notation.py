"""The notation in which a model family writes boxes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from p2r_bench.types import Box, Size

Form = Literal["json", "box_tokens", "box_tags"]
Scale = Literal["thousandths", "pixels"]
Corners = tuple[float, float, float, float]

_TAGGED = re.compile(r"(?:<ref>([^<]*)</ref>\s*)?<box>\s*(\[[^<]*\])\s*</box>")
_BOX_TOKENS = ("<|begin_of_box|>", "<|end_of_box|>")


@dataclass(frozen=True)
class BoxNotation:
    """Key, order, scale and form of boxes.

    Attributes:
        key: Key of the corners in a JSON object.
        order: "xyxy" for x1, y1, x2, y2; "yxyx" for y1, x1, y2, x2.
        scale: "thousandths" of the image, or "pixels" of the image as it was sent.
        form: "json": a list of objects. "box_tokens": the same between `<|begin_of_box|>` and `<|end_of_box|>`, where
            lists of corners without a label also occur. "box_tags": `<ref>label</ref><box>[[x1, y1, x2, y2]]</box>`.
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
        """Return one entry with names in place of numbers, for the prompt."""
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
        """Return four values as x1, y1, x2, y2; any other number of values as they are."""
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
            ValueError: The size is needed and not given.
        """
        x1, y1, x2, y2 = corners
        if self.scale == "thousandths":
            return corners
        if size is None:
            raise ValueError("boxes in pixels need the size of the image as sent")
        across, down = 1000 / size[0], 1000 / size[1]
        return x1 * across, y1 * down, x2 * across, y2 * down

    def as_json(self, text: str) -> str:
        """Return a reply with its boxes as JSON objects of this notation's key; JSON replies come back as they are."""
        if self.form == "box_tokens":
            begin, end = _BOX_TOKENS
            text = text.replace(begin, "").replace(end, "").strip()
            return self._labelled(text) or text
        if self.form == "box_tags" and (found := _TAGGED.findall(text)):
            entries = [
                {self.key: corners, "label": label or None}
                for label, boxes in found
                for corners in _lists(boxes)
            ]
            return json.dumps(entries, ensure_ascii=False)
        return text

    def _labelled(self, text: str) -> str | None:
        if not text.startswith("[["):
            return None
        return json.dumps([{self.key: corners} for corners in _lists(text)])

    def _from_thousandths(self, corners: Corners, size: Size) -> list[float]:
        x1, y1, x2, y2 = corners
        if self.scale == "pixels":
            across, down = size[0] / 1000, size[1] / 1000
            x1, y1, x2, y2 = (
                round(value) for value in (x1 * across, y1 * down, x2 * across, y2 * down)
            )
        return [x1, y1, x2, y2] if self.order == "xyxy" else [y1, x1, y2, x2]


def _lists(text: str) -> list[Any]:
    """Return the entries of a JSON list of lists; an unreadable list is one entry that is no box."""
    try:
        value = json.loads(text)
    except ValueError:
        return [text]
    return value if isinstance(value, list) and all(isinstance(v, list) for v in value) else [value]
