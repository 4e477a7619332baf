"""Image recipes as JSON text."""

from __future__ import annotations

from typing import Any

import orjson

from p2r_bench.types import Recipe, Stroke


def recipe_to_json(recipe: Recipe) -> str:
    """Return a recipe as one line of JSON, with each stroke as [rect, colour, width]."""
    value: dict[str, Any] = {
        "source": recipe.source,
        "exif": recipe.exif,
        "alpha": recipe.alpha,
        "strokes": [(stroke.rect, stroke.colour, stroke.width) for stroke in recipe.strokes],
        "crop": recipe.crop,
        "resize": recipe.resize,
        "route": recipe.route,
        "transport": recipe.transport,
    }
    if recipe.blank:
        value["blank"] = True
    return orjson.dumps(value).decode()


def recipe_from_json(text: str) -> Recipe:
    """Return the recipe that `recipe_to_json` wrote: equal, and with the same digest."""
    value: dict[str, Any] = orjson.loads(text)
    value["strokes"] = tuple(Stroke(tuple(r), colour, w) for r, colour, w in value["strokes"])
    value["crop"] = None if value["crop"] is None else tuple(value["crop"])
    value["resize"] = tuple(tuple(size) for size in value["resize"])
    return Recipe(**value)
