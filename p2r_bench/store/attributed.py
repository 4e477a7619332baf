"""Samples of stored runs as cases of attribution: crops against ground-truth boxes, p2r against oracle."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from p2r_bench.errors import UserError
from p2r_bench.stats.attribution import Case, Corners, localised
from p2r_bench.store.manifest import FILE, Manifest
from p2r_bench.store.reader import RunReader
from p2r_bench.store.schema import SAMPLES
from p2r_bench.store.scored import Key, ScoredRun

log = logging.getLogger(__name__)

ORACLE = "oracle"
_COLUMNS = (
    *("sample_id", "repeat", "gt_boxes", "parse_status", "crops", "recipes"),
    *("image_width", "image_height", "image_orientation"),
)


def cases_of(run: ScoredRun, oracle: ScoredRun | None) -> tuple[list[Case], Counter[str]]:
    """Return a run's cases, and the number of samples that are no case, by reason.

    Args:
        oracle: Run of mode `oracle`. If it is given, only samples that it has scored are cases.

    Raises:
        UserError: No sample has ground-truth boxes, or the mode names no boxes.
    """
    rows = run.reader.columns(SAMPLES, _COLUMNS).to_pylist()
    cases, left_out = [], Counter[str]()
    for row in rows:
        key: Key = (row["sample_id"], row["repeat"])
        reason = _reason(row, key, run, oracle)
        if reason is not None:
            left_out[reason] += 1
            continue
        truth, crops = _rectangles(row)
        width, height = _size(row)
        cases.append(
            Case(
                cluster=run.places[key].cluster,
                area=min((b[2] - b[0]) * (b[3] - b[1]) for b in truth) / (width * height),
                right=run.scores[key] >= 1,
                localised=localised(truth, crops),
                oracle=None if oracle is None else oracle.scores[key] >= 1,
            )
        )
    if not cases:
        reasons = ", ".join(f"{n} {reason}" for reason, n in left_out.items())
        raise UserError(
            f"{run.run_id}: no sample can be attributed ({reasons}). Attribution needs ground-truth boxes, as V-Star with its "
            "files and Synth-HR have them, and a mode that names boxes, such as p2r"
        )
    return cases, left_out


def _reason(
    row: Mapping[str, Any], key: Key, run: ScoredRun, oracle: ScoredRun | None
) -> str | None:
    """Return the reason why a sample is no case, or None."""
    if not row["gt_boxes"]:
        return "without ground-truth boxes"
    if key not in run.scores:
        return run.unscored[key].replace("_", " ")
    if row["parse_status"] is None:
        return "without evidence"
    if oracle is not None and key not in oracle.scores:
        return f"not scored in {oracle.run_id}"
    return None


def _rectangles(row: Mapping[str, Any]) -> tuple[list[Corners], list[Corners]]:
    """Return ground-truth boxes and crops in pixels of the oriented image."""
    width, height = _size(row)
    truth = [
        (
            b["x1"] / 1000 * width,
            b["y1"] / 1000 * height,
            b["x2"] / 1000 * width,
            b["y2"] / 1000 * height,
        )
        for b in row["gt_boxes"]
    ]
    recipes = {r["digest"]: orjson.loads(r["recipe"]) for r in row["recipes"] or ()}
    return truth, [tuple(recipes[digest]["crop"]) for digest in row["crops"] or ()]


def _size(row: Mapping[str, Any]) -> tuple[int, int]:
    """Return width and height after the EXIF rotation that the run applied."""
    width, height = row["image_width"], row["image_height"]
    applied = any(orjson.loads(r["recipe"])["exif"] == "apply" for r in row["recipes"] or ())
    turned = applied and (row["image_orientation"] or 1) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


def find_oracle(run: ScoredRun, out_dir: str | Path) -> RunReader | None:
    """Return the oracle run in a folder with the same reasoner, data, profile and repeats; the most complete one."""
    wanted = _conditions(run.identity)
    found = []
    for path in sorted((Path(out_dir) / "runs").glob(f"*/{FILE}")):
        try:
            content = Manifest.read(path.parent).content
        except UserError as error:
            log.warning("%s; the search for an oracle run leaves it out", error)
            continue
        identity, finished = content["identity"], content["finished"]
        if identity["mode"] == ORACLE and finished and _conditions(identity) == wanted:
            found.append((finished["samples"], path.parent))
    return RunReader(max(found)[1]) if found else None


def belongs_to(oracle: ScoredRun, run: ScoredRun) -> bool:
    """Return whether an oracle run has the same reasoner, data, profile and repeats as a run."""
    return _conditions(oracle.identity) == _conditions(run.identity)


def _conditions(identity: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("task", "data_digest", "profile_hash", "repeats")
    return (*(identity[name] for name in names), identity["model_digests"].get("reason"))
