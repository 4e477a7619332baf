"""Tiny samples, one of each answer form, on one small image in memory."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from functools import cache
from typing import get_args

from PIL import Image, ImageDraw

from p2r_bench.types import AnswerForm, Box, ImageRef, Sample

ANSWER_FORMS: tuple[AnswerForm, ...] = get_args(AnswerForm)

_QUESTIONS: dict[AnswerForm, tuple[str, str]] = {
    "choice": ("Which colour is the square?", "B"),
    "number": ("How many squares are there?", "1"),
    "free": ("What is drawn on the sheet?", "a green square"),
    "word": ("Which colour is the square?", "green"),
    "caption": ("Describe the picture.", "A green square on a white sheet."),
    "yes_no": ("Is the square green?", "yes"),
}
_OPTIONS = {"A": "red", "B": "green", "C": "blue", "D": "black"}
_SQUARE = (40, 60, 80, 100)
_SIZE = (160, 120)


def tiny_sample(form: AnswerForm = "choice") -> Sample:
    """Return a probed sample: a green square at (40, 60, 80, 100) on a white sheet of 160×120 pixels.

    Its ground-truth box is the square; its group is the image.
    """
    question, answer = _QUESTIONS[form]
    x1, y1, x2, y2 = _SQUARE
    width, height = _SIZE
    box = Box(
        (1000 * x1 / width, 1000 * y1 / height, 1000 * x2 / width, 1000 * y2 / height), "square"
    )
    return Sample(
        id=f"tiny/{form}",
        task="tiny",
        image=_image_ref(),
        question=question,
        answer=answer,
        options=_OPTIONS if form == "choice" else {},
        answer_form=form,
        boxes=(box,),
        group=_image_ref().digest,
    )


def tiny_samples() -> tuple[Sample, ...]:
    """Return a `tiny_sample` of every answer form."""
    return tuple(tiny_sample(form) for form in ANSWER_FORMS)


def without_boxes(sample: Sample) -> Sample:
    """Return the sample without boxes, as in a dataset that publishes none."""
    return replace(sample, boxes=None)


@cache
def _image_ref() -> ImageRef:
    image = Image.new("RGB", _SIZE, "white")
    left, top, right, bottom = _SQUARE
    ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), fill="green")
    file = io.BytesIO()
    image.save(file, "PNG")
    data = file.getvalue()
    return ImageRef(data=data, digest=hashlib.sha256(data).hexdigest(), size=_SIZE)
