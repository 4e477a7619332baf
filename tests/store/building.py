"""Samples, predictions and verdicts with something in every field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from p2r_bench.store.identity import RunIdentity, RunLabels, Session
from p2r_bench.store.rows import sample_row, verdict_row
from p2r_bench.store.run_folder import RunFolder
from p2r_bench.types import (
    Box,
    Cell,
    Completion,
    Evidence,
    ImageRef,
    Message,
    Prediction,
    Recipe,
    Request,
    Sample,
    Sampling,
    Status,
    Stroke,
    Verdict,
)

CELLS: tuple[Cell, ...] = ((None, None), ("4K", None), ("4K", "single"))

WHOLE = Recipe(
    source="ab" * 32,
    exif="apply",
    alpha="white",
    strokes=(Stroke((10, 20, 300, 400), "red", 3),),
    crop=None,
    resize=((1280, 704),),
    visual_tokens=880,
)
CROP = Recipe(
    "ab" * 32, "apply", "white", (), (5, 10, 320, 420), ((320, 416), (320, 416)), visual_tokens=130
)


def make_sample(number: int = 0, **changes: Any) -> Sample:
    values: dict[str, Any] = {
        "id": f"4K-{number:03}",
        "task": "HR-Bench",
        "image": ImageRef(
            path="shard.parquet",
            row=number,
            column="image.bytes",
            encoding="base64",
            digest=f"{number // 4:064x}",
            size=(3840, 2160),
            orientation=6,
        ),
        "question": "Which colour\nis the sign?",
        "answer": "B",
        "subset": "4K",
        "category": "single",
        "options": {"B": "red", "A": "blue"},
        "boxes": (Box((1.5, 2, 30, 40), "sign"), Box((-5, 0, 1200, 999))),
        "group": f"{number // 4:064x}",
        "question_id": f"q{number // 4}",
        "rotation": number % 4,
        "published_question": "Which colour?\nOptions: …",
        "meta": {"l2": ["a", 1]},
    }
    return Sample(**{**values, **changes})


def make_completion(sample: Sample, role: str, text: str, *images: Recipe) -> Completion:
    request = Request(
        sample_id=sample.id,
        role=role,
        messages=(
            Message("system", ("Look.",)),
            Message("user", (*images, f"{sample.question} …")),
        ),
        sampling=Sampling(temperature=0.5, seed=3, stop=("</answer>",)),
        priority=-1,
        schema={"type": "array"} if role == "perceive" else None,
    )
    return Completion(
        text=text,
        finish_reason="stop",
        prompt_tokens=1000,
        cached_tokens=64,
        output_tokens=12,
        visual_tokens=880,
        timings={"queue": 0.1, "image": 0.2, "engine": 0.7, "decode": 0.05},
        engine={"name": "fake", "endpoint": "http://localhost:1"},
        request=request,
    )


def make_prediction(
    sample: Sample, answer: str | None = "B", status: Status = "ok", **changes: Any
) -> Prediction:
    boxes = (Box((10.0, 20.0, 30.0, 40.0), "sign"), Box((0.0, 0.0, 1.0, 1.0)))
    values: dict[str, Any] = {
        "sample_id": sample.id,
        "status": status,
        "answer": answer,
        "evidence": Evidence(boxes, WHOLE, (CROP,), (0,), "boxes", ("entry 2: not an object",)),
        "completions": (
            make_completion(sample, "perceive", "[…]", WHOLE),
            make_completion(sample, "reason", "<answer>B</answer>", WHOLE, CROP),
        ),
        "usage": {"perceive_calls": 1.0},
    }
    return Prediction(**{**values, **changes})


def make_verdict(sample: Sample, correct: bool | None = True, **changes: Any) -> Verdict:
    values: dict[str, Any] = {
        "sample_id": sample.id,
        "scorer": "strict",
        "version": "1",
        "params_hash": "0" * 8,
        "extracted": "B",
        "span": (0, 1),
        "correct": correct,
    }
    return Verdict(**{**values, **changes})


def outcome(
    number: int = 0,
    correct: bool = True,
    status: Status = "ok",
    *,
    repeat: int = 0,
    **changes: Any,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Rows as a runner would record them."""
    sample = make_sample(number, **changes)
    prediction = make_prediction(sample, status=status)
    row = sample_row(
        sample, prediction, index=number, cells=CELLS, repeat=repeat, total_seconds=1.5
    )
    if status != "ok":
        return row, []
    return row, [verdict_row(make_verdict(sample, correct), index=number, repeat=repeat)]


def identity(**changes: Any) -> RunIdentity:
    values: dict[str, Any] = {
        "task": "HR-Bench",
        "mode": "p2r",
        "mode_version": "p2r-bench 0.1.0",
        "model_digests": {"perceive": "d1", "reason": "d1"},
        "data_digest": "data",
        "profile_hash": "profile",
    }
    return RunIdentity(**{**values, **changes})


LABELS = RunLabels({"perceive": "org/Model-4B", "reason": "org/Model-4B"}, "p2r", "[profile]\n")
SESSION = Session(
    pinned={"engines": {"reason": {"dtype": "float32"}}, "versions": {"torch": "2"}},
    noted={"command": ["run"]},
    engines={"perceive": "fake", "reason": "fake"},
)


def open_folder(out: Path, **changes: Any) -> RunFolder:
    return RunFolder.open(out, identity(**changes), LABELS)
