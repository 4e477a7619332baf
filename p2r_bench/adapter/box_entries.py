"""Search for the entries of a box list in a perceiver's text, by one of two rules.

`tolerant_entries` reads every complete entry, wherever it stands. `published_entries` is the rule of the published
evaluation (arXiv 2607.01191).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

KEY = "bbox_2d"

_FLAT_OBJECT = re.compile(r"\{[^{}]*\}")
_OPENING = re.compile(r'\{\s*+"[^"\\{]*+"\s*+:|\[\s*+[\[{\]]')
_FENCE = re.compile(r"(?:```[^\S\n]*\w*|json\b)\s*", re.IGNORECASE)
_TRAILING_COMMA = re.compile(r",\s*[}\]]")
_STRING_OR_TRAILING_COMMA = re.compile(r'("(?:[^"\\]++|\\.)*+")|,(?=\s*[}\]])', re.DOTALL)
_PYTHON = re.compile(
    r"""(?P<before>[{\[,:]\s*+)(?:
        (?P<json>"(?:[^"\\]++|\\.)*+")
        | '(?P<text>(?:[^'\\{]|\\.|\{(?!\s{0,9}'\w)|'(?!\s{0,9}(?:[:,}\]]|\Z)))*+)(?P<end>'|\Z)
        | \((?P<tuple>[-+\d.,\s]*)\)
        | (?P<word>None|True|False)(?=\s*[,}\]]) )""",
    re.DOTALL | re.VERBOSE,
)
_WORDS = {"None": "null", "True": "true", "False": "false"}
_MOST_BROKEN, _MOST_VALUES = 1000, 10_000


@dataclass(frozen=True)
class Broken:
    """An entry that is not valid JSON."""


@dataclass
class Found:
    """The entries of a text.

    Attributes:
        entries: In the order of the text: decoded JSON values that should be boxes, and broken ones.
        json: True if the text holds any JSON value or broken entry.
        cut_off: True if the text ends inside an entry.
    """

    entries: list[Any] = field(default_factory=list)
    json: bool = False
    cut_off: bool = False


def published_entries(text: str) -> Found:
    """Decode a text that is one JSON value; search any other for flat objects with `bbox_2d`.

    A single object counts as a list of one, and deeper nesting is ignored. Flat objects are decoded one by one.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # ValueError also covers integers of thousands of digits
        flat = [part for part in _FLAT_OBJECT.findall(text) if KEY in part]
        return Found([_decoded(part) for part in flat], json=bool(flat))
    return Found(value if isinstance(value, list) else [value], json=True)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return Broken()


def tolerant_entries(text: str, key: str = KEY) -> Found:
    """Find every complete entry: in a list, a code fence, prose, inside an object, before a cut-off.

    Control characters in a label (line breaks), a comma before a closing bracket, and Python's notation of lists are
    accepted.
    A broken entry is left out, never repaired. Takes linear time: reading stops after 1,000 broken values, 10,000
    values, or nesting beyond Python's limit, unless the text is one JSON value.
    """
    body, quoted = _unfenced(text), f'"{key}"'
    if f"'{key}'" in body:
        body = _PYTHON.sub(_as_json, body)
    if _TRAILING_COMMA.search(body):
        body = _STRING_OR_TRAILING_COMMA.sub(lambda m: m[1] or "", body, count=_MOST_VALUES)
    completed: list[dict[str, Any]] = []

    def note(value: dict[str, Any]) -> dict[str, Any]:
        if key in value:
            completed.append(value)
        return value

    # Numbers are read as floats: an integer of thousands of digits does not raise.
    decode = json.JSONDecoder(strict=False, parse_int=float, object_hook=note).raw_decode
    try:
        value, end = decode(body)
        if end == len(body):
            return Found(_entries(value, key), json=True)
    except (json.JSONDecodeError, RecursionError):
        pass

    found = Found()
    place = broken = 0
    for _ in range(_MOST_VALUES):
        opening = _OPENING.search(body, place)
        if opening is None or broken == _MOST_BROKEN:
            break
        completed.clear()
        try:
            value, place = decode(body, opening.start())
        except json.JSONDecodeError as error:
            # Decoding fails in the innermost open object, so the others are complete.
            found.entries += completed
            broken += 1
            place = max(error.pos, opening.start() + 1)
            # An unclosed quote has swallowed the opening of the next entry.
            swallowed = body.rfind("{", opening.start() + 1, place)
            if swallowed >= 0 and body[swallowed + 1 : place].strip() == '"':
                place = swallowed
            if body.count(quoted, opening.start(), place) > len(completed):
                ended = error.pos >= len(body) or error.msg.startswith("Unterminated string")
                found.cut_off = found.cut_off or ended
                if not ended:
                    found.entries.append(Broken())
        except RecursionError:
            found.entries += completed
            break
        else:
            found.entries += _entries(value, key)
            found.json = True
    found.json = found.json or bool(found.entries)
    return found


def _as_json(literal: re.Match[str]) -> str:
    """Return a Python literal inside a list or dict in JSON's notation: single quotes, tuples, None."""
    if literal["json"] is not None:
        return literal[0]
    if literal["word"] is not None:
        return literal["before"] + _WORDS[literal["word"]]
    if literal["tuple"] is not None:
        return f"{literal['before']}[{literal['tuple']}]"
    text = re.sub(r'(?<!\\)"', r"\"", literal["text"].replace("\\'", "'"))
    return f'{literal["before"]}"{text}' + ('"' if literal["end"] else "")


def _unfenced(text: str) -> str:
    """Return the text without surrounding white space, code fence and the word "json"."""
    text = text.strip()
    if fence := _FENCE.match(text):
        text = text[fence.end() :].removesuffix("```").rstrip()
    return text


def _entries(value: object, key: str) -> list[Any]:
    """Yield the entries of a decoded value: objects with the key, and values in their place.

    Lists, and objects without the key that hold lists or objects, are searched. An empty list holds no entry.
    """
    entries: list[Any] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        inner: list[Any] | None = None
        if isinstance(one, list):
            inner = one
        elif isinstance(one, dict) and key not in one:
            inner = [part for part in one.values() if _may_hold_objects(part)] or None
        if inner is None:
            entries.append(one)
        else:
            waiting += reversed(inner)
    return entries


def _may_hold_objects(value: object) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and (not value or isinstance(value[0], dict | list))
    )
