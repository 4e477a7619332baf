"""Image recipes as JSON text."""

from __future__ import annotations

import json
from typing import Any

from p2r_bench.types import Recipe, Stroke

_encode = json.JSONEncoder(separators=(",", ":")).encode


def recipe_to_json(recipe: Recipe) -> str:
    """A recipe as one line of JSON."""
    return _encode(
        {
            "source": recipe.source,
            "exif": recipe.exif,
            "alpha": recipe.alpha,
            "strokes": [[s.rect, s.colour, s.width] for s in recipe.strokes],
            "crop": recipe.crop,
            "resize": recipe.resize,
            "route": recipe.route,
            "transport": recipe.transport,
        }
    )


def recipe_from_json(text: str) -> Recipe:
    """The recipe that `recipe_to_json` wrote: equal, and with the same digest."""
    value: dict[str, Any] = json.loads(text)
    value["strokes"] = tuple(Stroke(tuple(r), colour, w) for r, colour, w in value["strokes"])
    value["crop"] = None if value["crop"] is None else tuple(value["crop"])
    value["resize"] = tuple(tuple(size) for size in value["resize"])
    return Recipe(**value)
