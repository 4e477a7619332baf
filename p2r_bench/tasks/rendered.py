"""Folders of Synth-HR images, which are rendered on first use and kept."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from p2r_bench.atomic import swapping
from p2r_bench.errors import UserError
from p2r_bench.types import digest_of

RECIPE = "synth_hr.json"
"""Name of the folder's recipe: seed, split, resolution and the renderer's fingerprint. N.jpg belongs to question N."""


def prepare_folder(base: Path, seed: int, split: str, resolution: str) -> Path:
    """Create the folder below `base` for these images, with its recipe but without images.

    Folders of other versions of the renderer have other names and are kept.

    Raises:
        UserError: The folder cannot be written.
    """
    recipe = {
        "seed": seed,
        "split": split,
        "resolution": resolution,
        "fingerprint": fingerprint(seed, split),
    }
    folder = base / f"{split}-{seed}-{resolution}-{digest_of(recipe)[:12]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(recipe, indent=2).encode() + b"\n"
        path = folder / RECIPE
        if not path.is_file() or path.read_bytes() != text:
            _write(path, text)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written: {error.strerror}; XDG_CACHE_HOME names another cache folder"
        ) from error
    return folder


def read_or_render(path: Path) -> bytes:
    """Return the bytes of an image in a folder made by `prepare_folder`. Render the image first if it is missing or
    damaged.

    Raises:
        OSError: A failed read or write, or a folder of another version of the renderer.
    """
    checksum = path.with_suffix(".sha256")
    if path.is_file() and checksum.is_file():
        data = path.read_bytes()
        if checksum.read_bytes() == _sha256(data):
            return data
    recipe, number = _recipe(path.parent / RECIPE), path.stem
    if not (number.isdecimal() and len(number) <= _DIGITS):
        raise OSError(f"{path} is not the name of an image of Synth-HR")
    if recipe["fingerprint"] != fingerprint(recipe["seed"], recipe["split"]):
        raise OSError(f"{path} belongs to another version of Synth-HR's renderer")
    data = _render(recipe, int(number))
    _write(path, data)
    _write(checksum, _sha256(data))
    return data


_DIGITS = 6
"""Most digits of an image's number. Longer ones are damaged names, and would first generate all earlier questions."""


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode() + b"\n"


def _recipe(path: Path) -> dict[str, Any]:
    """Return a folder's recipe.

    Raises:
        OSError: A damaged recipe.
    """
    from p2r_bench.synth.rows import SIZES, SPLITS

    try:
        recipe = json.loads(path.read_text(encoding="utf-8"))
        seed, split, resolution = recipe["seed"], recipe["split"], recipe["resolution"]
        if type(seed) is int and split in SPLITS and resolution in SIZES and recipe["fingerprint"]:
            return dict(recipe)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise OSError(f"{path} is damaged; delete it and run the same command again")


@lru_cache(maxsize=8)
def fingerprint(seed: int, split: str) -> str:
    """Return a digest of the first question and a small drawing of its scene. It changes with the renderer."""
    from p2r_bench.synth import questions
    from p2r_bench.synth.render import WHOLE, draw_scene

    question, start = next(iter(questions(seed, 1, split)))  # type: ignore[arg-type]
    drawing = draw_scene(question.scene, WHOLE, (480, 270)).tobytes()
    return digest_of([question.text, list(question.options), start, drawing.hex()])


def _render(recipe: dict[str, Any], number: int) -> bytes:
    from p2r_bench.synth.rows import jpeg

    posed = _posed(recipe["seed"], recipe["split"], 1 << number.bit_length())
    return jpeg(posed[number][0].scene, recipe["resolution"])


@lru_cache(maxsize=2)
def _posed(seed: int, split: str, count: int) -> list[Any]:
    from p2r_bench.synth.rows import questions

    return list(questions(seed, count, split))  # type: ignore[arg-type]


def _write(path: Path, data: bytes) -> None:
    with swapping(path) as temporary:
        temporary.write_bytes(data)
