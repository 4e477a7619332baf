"""Digest, size and orientation of training images, read once and kept beside the training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from p2r_bench.atomic import replacing
from p2r_bench.errors import ImageError, UserError
from p2r_bench.tasks.reading import MAX_ASPECT, probe, read_image
from p2r_bench.types import ImageRef, Sample

_WORKERS = 4
_SHOWN_FINDINGS = 20


def probed(samples: Sequence[Sample], cache: Path) -> list[Sample]:
    """Return the samples with `image.digest`, `image.size` and `image.orientation`, and their group where they have none.

    Args:
        cache: JSON file with the facts of files that have not changed since.

    Raises:
        UserError: Images cannot be read, or have a shape that the model family refuses.
    """
    known = _read(cache)
    todo = {_key(s.image): s.image for s in samples if _fresh(s.image, known) is None}
    findings: list[str] = []

    def look(item: tuple[str, ImageRef]) -> tuple[str, dict[str, Any] | str]:
        key, ref = item
        try:
            seen = probe(ref, read_image(ref))
        except ImageError as error:
            return key, str(error)
        width, height = seen.size or (1, 1)
        if max(width, height) > MAX_ASPECT * min(width, height):
            return key, f"{ref.path}: {width}×{height}, an aspect ratio above {MAX_ASPECT}"
        facts = {
            "digest": seen.digest,
            "size": list(seen.size or ()),
            "orientation": seen.orientation,
        }
        return key, {**facts, **_stamp(ref)}

    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="p2r-probe") as pool:
        for key, outcome in pool.map(look, todo.items()):
            if isinstance(outcome, str):
                findings.append(outcome)
            else:
                known[key] = outcome
    if findings:
        shown = "\n".join(f"  {finding}" for finding in findings[:_SHOWN_FINDINGS])
        if len(findings) > _SHOWN_FINDINGS:
            shown += f"\n  … and {len(findings) - _SHOWN_FINDINGS} more"
        raise UserError(f"{len(findings)} training images cannot be used:\n{shown}")
    if todo:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with replacing(cache) as beside:
            beside.write_text(json.dumps(known), "utf-8")
    return [_with(sample, known[_key(sample.image)]) for sample in samples]


def _with(sample: Sample, facts: dict[str, Any]) -> Sample:
    image = replace(
        sample.image,
        digest=facts["digest"],
        size=tuple(facts["size"]),
        orientation=facts["orientation"],
    )
    return replace(sample, image=image, group=sample.group or image.digest)


def _key(ref: ImageRef) -> str:
    if ref.path is None:
        raise ValueError("training images are files")
    return f"{ref.path}:{ref.row}:{ref.column}"


def _fresh(ref: ImageRef, known: dict[str, Any]) -> dict[str, Any] | None:
    facts: dict[str, Any] | None = known.get(_key(ref))
    return facts if facts is not None and facts.items() >= _stamp(ref).items() else None


def _stamp(ref: ImageRef) -> dict[str, Any]:
    """Return the facts that change when a file is rewritten; None for a file that is rendered when it is read."""
    try:
        state = Path(ref.path or "").stat()
    except OSError:
        return {"bytes": None, "changed": None}
    return {"bytes": state.st_size, "changed": state.st_mtime_ns}


def _read(cache: Path) -> dict[str, Any]:
    try:
        known = json.loads(cache.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
