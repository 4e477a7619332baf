"""Conversion of samples, predictions and verdicts to stored rows, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from p2r_bench.errors import UserError
from p2r_bench.store.recipes import recipe_from_json as recipe_from_json
from p2r_bench.store.recipes import recipe_to_json as recipe_to_json
from p2r_bench.store.schema import SAMPLES, VERDICTS
from p2r_bench.store.values import misfit
from p2r_bench.types import (
    Box,
    Cell,
    Completion,
    ErrorInfo,
    Evidence,
    ImageRef,
    Message,
    Prediction,
    Recipe,
    Request,
    Sample,
    Sampling,
    Verdict,
)

Row = dict[str, Any]

_TOKENS = ("prompt_tokens", "cached_tokens", "output_tokens", "visual_tokens")
_TIMES = ("queue", "image", "engine")


def now() -> str:
    """Return the current time as rows store it: ISO 8601, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def sample_row(
    sample: Sample,
    prediction: Prediction,
    *,
    index: int,
    cells: Iterable[Cell],
    repeat: int = 0,
    judge_seconds: float | None = None,
    total_seconds: float | None = None,
    created: str | None = None,
) -> Row:
    """Return the row of one outcome, with everything that reports, `show` and scoring again need.

    A prediction that the schema cannot hold, such as a server's token count of more than 64 bits, becomes
    one with an error of type `invalid_value`.

    Args:
        sample: With its image probed (digest and size known).
        prediction: With `Completion.request` filled in.
        index: Position of the sample in the dataset, from 0.
        cells: `task.cells(sample)`.
        repeat: Number of the pass over the sample, from 0.
        judge_seconds: Sum over the judges.
        total_seconds: From the sample's start to its outcome.
        created: Default: now.

    Raises:
        UserError: The schema cannot hold a field of the sample itself.
    """
    facts = {
        "index": index,
        "repeat": repeat,
        "judge_seconds": judge_seconds,
        "total_seconds": total_seconds,
        "created": created or now(),
    }
    row = {**_outcome_row(sample, prediction, cells), **facts}
    if (problem := misfit(SAMPLES, row)) is not None:
        failed = Prediction(sample.id, "error", error=ErrorInfo("invalid_value", problem))
        row = {**_outcome_row(sample, failed, cells), **facts}
        if (problem := misfit(SAMPLES, row)) is not None:
            raise UserError(f"sample {sample.id!r} cannot be stored: {problem}.")
    return row


def _outcome_row(sample: Sample, prediction: Prediction, cells: Iterable[Cell]) -> Row:
    """Return the row without the facts that the caller knows."""
    image, evidence = sample.image, prediction.evidence
    recipes: dict[str, Recipe] = {}
    stages = [_stage_row(completion, recipes) for completion in prediction.completions]
    if evidence is not None:
        kept = (*evidence.crops, *([evidence.annotated] if evidence.annotated else []))
        recipes.update((recipe.digest, recipe) for recipe in kept)
    return {
        "sample_id": sample.id,
        "task": sample.task,
        "subset": sample.subset,
        "category": sample.category,
        "cells": [{"subset": subset, "category": category} for subset, category in cells],
        "group": sample.group if sample.group is not None else image.digest,
        "question_id": sample.question_id,
        "rotation": sample.rotation,
        "image_digest": image.digest,
        "image_width": image.size[0] if image.size else None,
        "image_height": image.size[1] if image.size else None,
        "image_orientation": image.orientation,
        "image_path": image.path,
        "image_row": image.row,
        "image_column": image.column,
        "image_encoding": image.encoding,
        "question": sample.question,
        "published_question": sample.published_question,
        "options": _json(sample.options) if sample.options else None,
        "answer": sample.answer,
        "answer_form": sample.answer_form,
        "gt_boxes": None if sample.boxes is None else _box_rows(sample.boxes),
        "meta": _json(sample.meta) if sample.meta else None,
        "status": prediction.status,
        "extracted_answer": prediction.answer,
        "no_answer_reason": prediction.no_answer_reason,
        **_error_row(prediction.error),
        "boxes": None if evidence is None else _box_rows(evidence.boxes),
        "parse_status": evidence.parse_status if evidence else None,
        "ignored": None if evidence is None else list(evidence.ignored),
        "annotated": evidence.annotated.digest if evidence and evidence.annotated else None,
        "crops": None if evidence is None else [crop.digest for crop in evidence.crops],
        "crop_boxes": None if evidence is None else list(evidence.crop_boxes),
        "stages": stages,
        "recipes": [{"digest": d, "recipe": recipe_to_json(r)} for d, r in recipes.items()],
        "n_calls": len(stages),
        **{name: _total(stages, name) for name in _TOKENS},
        **{f"{name}_seconds": _total(stages, f"{name}_seconds") for name in _TIMES},
        "usage": _json(prediction.usage) if prediction.usage else None,
        "session": None,  # the run folder fills it in
    }


def verdict_row(
    verdict: Verdict,
    *,
    index: int,
    repeat: int = 0,
    created: str | None = None,
) -> Row:
    """Return the row of one verdict; `index` and `repeat` as in the sample's row.

    A verdict that the schema cannot hold becomes one with an error of type `invalid_value`.
    """
    facts = {"index": index, "repeat": repeat, "created": created or now()}
    row = {**_verdict_row(verdict), **facts}
    if (problem := misfit(VERDICTS, row)) is not None:
        failed = Verdict(
            verdict.sample_id,
            verdict.scorer,
            verdict.version,
            verdict.params_hash,
            status="error",
            error=ErrorInfo("invalid_value", problem),
        )
        row = {**_verdict_row(failed), **facts}
    return row


def _verdict_row(verdict: Verdict) -> Row:
    start, end = verdict.span or (None, None)
    return {
        "sample_id": verdict.sample_id,
        "scorer": verdict.scorer,
        "version": verdict.version,
        "params_hash": verdict.params_hash,
        "extracted": verdict.extracted,
        "span_start": start,
        "span_end": end,
        "correct": verdict.correct,
        "score": verdict.score,
        "metric": verdict.metric,
        "fallback": verdict.fallback,
        "status": verdict.status,
        **_error_row(verdict.error),
        "seconds": verdict.seconds,
    }


def sample_from_row(row: Mapping[str, Any]) -> Sample:
    """Return the sample of a row. An image that was held in memory keeps its digest and size only."""
    width = row["image_width"]
    return Sample(
        id=row["sample_id"],
        task=row["task"],
        image=ImageRef(
            path=row["image_path"],
            row=row["image_row"],
            column=row["image_column"],
            encoding=row["image_encoding"],
            digest=row["image_digest"],
            size=None if width is None else (width, row["image_height"]),
            orientation=row["image_orientation"],
        ),
        question=row["question"],
        answer=row["answer"],
        subset=row["subset"],
        category=row["category"],
        options=json.loads(row["options"]) if row["options"] else {},
        answer_form=row["answer_form"],
        boxes=None if row["gt_boxes"] is None else _boxes(row["gt_boxes"]),
        group=row["group"],
        question_id=row["question_id"],
        rotation=row["rotation"],
        published_question=row["published_question"],
        meta=json.loads(row["meta"]) if row["meta"] else {},
    )


def prediction_from_row(row: Mapping[str, Any]) -> Prediction:
    """Return the prediction of a row, with requests and recipes, so that it can be scored again without a model."""
    recipes = {r["digest"]: recipe_from_json(r["recipe"]) for r in row["recipes"]}
    evidence = None
    if row["parse_status"] is not None:
        evidence = Evidence(
            boxes=_boxes(row["boxes"]),
            annotated=recipes[row["annotated"]] if row["annotated"] else None,
            crops=tuple(recipes[digest] for digest in row["crops"]),
            crop_boxes=tuple(row["crop_boxes"]),
            parse_status=row["parse_status"],
            ignored=tuple(row["ignored"]),
        )
    return Prediction(
        sample_id=row["sample_id"],
        status=row["status"],
        answer=row["extracted_answer"],
        evidence=evidence,
        completions=tuple(_completion(row["sample_id"], s, recipes) for s in row["stages"]),
        error=_error(row),
        usage=json.loads(row["usage"]) if row["usage"] else {},
    )


def _stage_row(completion: Completion, recipes: dict[str, Recipe]) -> Row:
    request = completion.request
    visual = completion.visual_tokens
    if request is not None:
        recipes.update((recipe.digest, recipe) for recipe in request.recipes)
        visual = request.visual_tokens if visual is None else visual
    return {
        "role": request.role if request else None,
        "text": completion.text,
        "finish_reason": completion.finish_reason,
        "request_digest": request.digest if request else None,
        "request": request.content if request else None,
        "priority": request.priority if request else None,
        "prompt_tokens": completion.prompt_tokens,
        "cached_tokens": completion.cached_tokens,
        "output_tokens": completion.output_tokens,
        "visual_tokens": visual,
        "engine_visual_tokens": completion.engine_visual_tokens,
        **{f"{name}_seconds": completion.timings.get(name) for name in _TIMES},
        "timings": _json(completion.timings),
        "engine": _json(completion.engine),
        "images": [_image_row(recipe) for recipe in request.recipes] if request else [],
    }


def _image_row(recipe: Recipe) -> Row:
    width, height = recipe.size
    return {
        "digest": recipe.digest,
        "width": width,
        "height": height,
        "visual_tokens": recipe.visual_tokens,
        "crop": list(recipe.crop) if recipe.crop else None,
    }


def _completion(
    sample_id: str, stage: Mapping[str, Any], recipes: Mapping[str, Recipe]
) -> Completion:
    request = None
    if stage["request"] is not None:
        sent = json.loads(stage["request"])
        sent["sampling"]["stop"] = tuple(sent["sampling"]["stop"])
        request = Request(
            sample_id=sample_id,
            role=stage["role"],
            messages=tuple(
                Message(
                    role, tuple(p if isinstance(p, str) else recipes[p["image"]] for p in parts)
                )
                for role, parts in sent["messages"]
            ),
            sampling=Sampling(**sent["sampling"]),
            priority=stage["priority"],
            schema=sent["schema"],
        )
    return Completion(
        text=stage["text"],
        finish_reason=stage["finish_reason"],
        **{name: stage[name] for name in _TOKENS},
        timings=json.loads(stage["timings"]),
        engine=json.loads(stage["engine"]),
        request=request,
    )


def _error_row(error: ErrorInfo | None) -> Row:
    return {
        "error_type": error.type if error else None,
        "error_message": error.message if error else None,
        "error_role": error.role if error else None,
    }


def _error(row: Mapping[str, Any]) -> ErrorInfo | None:
    if row["error_type"] is None:
        return None
    return ErrorInfo(row["error_type"], row["error_message"], row["error_role"])


def _box_rows(boxes: Iterable[Box]) -> list[Row]:
    return [
        dict(zip(("x1", "y1", "x2", "y2"), map(float, box.xyxy), strict=True), label=box.label)
        for box in boxes
    ]


def _boxes(rows: Iterable[Mapping[str, Any]]) -> tuple[Box, ...]:
    return tuple(Box((r["x1"], r["y1"], r["x2"], r["y2"]), r["label"]) for r in rows)


def _total(stages: Sequence[Mapping[str, Any]], name: str) -> Any:
    """Return the sum over the calls, or None if a call has no value."""
    values = [stage[name] for stage in stages]
    if not values or None in values:
        return None
    try:
        return sum(values)
    except TypeError:  # `misfit` names the value
        return None


def _json(value: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(dict(value)).decode()
    except TypeError:  # lone surrogates, integers of more than 64 bits, keys that are no texts
        return json.dumps(dict(value), ensure_ascii=False, separators=(",", ":"))
