"""Folders of Synth-HR images that are rendered when they are first read, and kept."""

from __future__ import annotations

import json
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from p2r_bench.errors import UserError
from p2r_bench.types import digest_of

RECIPE = "synth_hr.json"
"""In such a folder: seed, split, resolution and the renderer's fingerprint. Image N.jpg is that of question N."""


def prepare_folder(base: Path, seed: int, split: str, resolution: str) -> Path:
    """The folder below `base` for these images, with its recipe; images come when they are read.

    Folders of another version of the renderer are left alone, under another name.

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
        if not (folder / RECIPE).is_file():
            _write(folder / RECIPE, json.dumps(recipe, indent=2).encode() + b"\n")
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written: {error.strerror}; XDG_CACHE_HOME names another cache folder"
        ) from error
    return folder


def read_or_render(path: Path) -> bytes:
    """The bytes of an image in such a folder, which is written first where it is missing.

    Raises:
        OSError: It cannot be read, written, or made by this version of the renderer.
    """
    if not path.is_file():
        recipe = json.loads((path.parent / RECIPE).read_text(encoding="utf-8"))
        if recipe["fingerprint"] != fingerprint(recipe["seed"], recipe["split"]):
            raise OSError(f"{path} was to be rendered by another version of Synth-HR")
        _write(path, _render(recipe, int(path.stem)))
    return path.read_bytes()


@lru_cache(maxsize=8)
def fingerprint(seed: int, split: str) -> str:
    """Digest of the first question and a small drawing of its scene: changes when either would."""
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
    """Write beside the name and swap in, so that readers in other processes see all or nothing."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
