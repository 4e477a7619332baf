"""Image recipes as JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from p2r_bench.types import Recipe, Stroke

_text = json.encoder.encode_basestring_ascii


def recipe_to_json(recipe: Recipe) -> str:
    """A recipe as one line of JSON. Put together by hand: every row has several."""
    strokes = ",".join(
        f"[{_numbers(s.rect)},{_text(s.colour)},{s.width!r}]" for s in recipe.strokes
    )
    crop = "null" if recipe.crop is None else _numbers(recipe.crop)
    return (
        f'{{"source":{_text(recipe.source)},"exif":{_text(recipe.exif)},'
        f'"alpha":{_text(recipe.alpha)},"strokes":[{strokes}],"crop":{crop},'
        f'"resize":[{",".join(map(_numbers, recipe.resize))}],'
        f'"route":{_text(recipe.route)},"transport":{_text(recipe.transport)}}}'
    )


def _numbers(values: Iterable[int]) -> str:
    return f"[{','.join(map(repr, values))}]"


def recipe_from_json(text: str) -> Recipe:
    """The recipe that `recipe_to_json` wrote: equal, and with the same digest."""
    value: dict[str, Any] = json.loads(text)
    value["strokes"] = tuple(Stroke(tuple(r), colour, w) for r, colour, w in value["strokes"])
    value["crop"] = None if value["crop"] is None else tuple(value["crop"])
    value["resize"] = tuple(tuple(size) for size in value["resize"])
    return Recipe(**value)
