"""The zoom tool: its signature, and calls of it in a model's text.

The tags and the JSON between them are those of the Qwen family's chat templates (Hermes style); tool and
parameter names are those of its published zoom examples.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from p2r_bench import Box
from p2r_bench.adapter import read_boxes, without_thoughts

NAME = "image_zoom_in_tool"
SIGNATURE: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": "Shows one region of the image enlarged.",
        "parameters": {
            "type": "object",
            "properties": {
                "bbox_2d": {
                    "type": "array",
                    "items": {"type": "number"},
                    "minItems": 4,
                    "maxItems": 4,
                    "description": "x1, y1, x2, y2 of the region, from 0 to 1000 across the whole image",
                },
                "label": {"type": "string", "description": "What the region shows"},
            },
            "required": ["bbox_2d", "label"],
        },
    },
}

_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)


@dataclass(frozen=True)
class Mistake:
    """A call that cannot be run; the message is for the model."""

    reason: str


def read_calls(text: str) -> tuple[Box | Mistake, ...]:
    """Return the tool calls that a model's turn ends with, in order; none when it answers instead.

    Calls inside a thought, and calls that an answer follows, are not calls. A call whose closing
    tag is missing counts if it is complete otherwise. Never raises, whatever the text.
    """
    said = without_thoughts(text)
    found = [match for match in _CALL.finditer(said) if match.end() > said.rfind("</answer>")]
    return tuple(_read_call(match[1]) for match in found)


def _read_call(text: str) -> Box | Mistake:
    try:
        call = json.loads(text)
        if not isinstance(call, dict):
            return Mistake("the call is not a JSON object")
        if call.get("name") != NAME:
            return Mistake(f"there is no tool of this name; the tool is called {NAME}")
        arguments = call.get("arguments")
        if not isinstance(arguments, dict):
            return Mistake("arguments is not a JSON object")
        reading = read_boxes(json.dumps([arguments]))
    except (ValueError, RecursionError):  # ValueError also covers integers of thousands of digits
        return Mistake("the call is not valid JSON")
    if reading.boxes:
        return reading.boxes[0]
    return Mistake(reading.ignored[0].removeprefix("entry 0: "))
