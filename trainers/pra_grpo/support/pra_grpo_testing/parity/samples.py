"""Samples of every answer form, with images that are awkward in every way that images are."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import get_args

from PIL import Image, ImageDraw

from p2r_bench.tasks.reading import probe
from p2r_bench.types import AnswerForm, Box, ImageRef, Sample

SIZES = ((160, 120), (333, 97), (97, 333), (640, 481), (1024, 31), (800, 600), (33, 33))
ORIENTATION = 0x0112
QUESTIONS = (
    "Which colour is the square?",
    "What stands left of the door,\nand what on it?",
    "  Ist das Schild grün – oder „rot“? {} %s <b> 🟩 ",
    "图中有几个方块？",
)
ANSWERS = {
    "choice": "B",
    "number": "3",
    "free": "a green square",
    "word": "green",
    "caption": "A green square on a sheet.",
    "yes_no": "yes",
}


def parity_samples(folder: Path, count: int = 50) -> list[Sample]:
    """`count` samples of every answer form, probed, with images below `folder`.

    Images come as JPEG with every EXIF orientation, PNG with and without transparency, and in grey.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = [_image(folder, number) for number in range(min(count, 28))]
    return [
        _sample(form, number, images[number % len(images)])
        for form in get_args(AnswerForm)
        for number in range(count)
    ]


def boxes_for(sample: Sample) -> str:
    """A perceiver's text for a sample: mostly boxes, sometimes what perceivers write otherwise."""
    chance = random.Random(f"boxes:{sample.id}")
    odd = (
        "[]",
        "I see no region.",
        '[{"bbox_2d": [NaN, 0, 10, 10], "label": "x"}]',
        '[{"bbox_2d": [1200, 1200, 1300, 1300], "label": "outside"}]',
        '```json\n[{"bbox_2d": [100, 200, 300, 400], "label": "fenced"}]\n```',
        '{"bbox_2d": [10.5, 20, 990, 999.9], "label": "alone"}',
    )
    if chance.random() < 0.3:
        return chance.choice(odd)
    boxes = []
    for number in range(chance.randint(1, 9)):
        x, y = chance.randint(-20, 900), chance.randint(-20, 900)
        corners = [x, y, x + chance.randint(1, 400), y + chance.randint(1, 400)]
        boxes.append(f'{{"bbox_2d": {corners}, "label": "region {number}"}}')
    return f"[{', '.join(boxes)}]"


def _sample(form: AnswerForm, number: int, image: ImageRef) -> Sample:
    options = {"A": "red", "B": "green", "C": "blue (dark)", "D": "none of these"}
    question = QUESTIONS[number % len(QUESTIONS)]
    lines = [f"{letter}. {text}" for letter, text in options.items()]
    return Sample(
        id=f"{form}/{number}",
        task="parity",
        image=image,
        question=question,
        options=options if form == "choice" else {},
        answer=ANSWERS[form],
        answer_form=form,
        boxes=(Box((100.0, 100.0, 300.0, 300.0), "square"),),
        group=image.digest,
        published_question="\n".join([question, *lines]) if form == "choice" else None,
    )


def _image(folder: Path, number: int) -> ImageRef:
    size = SIZES[number % len(SIZES)]
    kind = ("jpeg", "png", "alpha", "grey")[number % 4]
    chance = random.Random(number)
    picture = Image.new("RGB", size, tuple(chance.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        corners = sorted(chance.randrange(size[0]) for _ in range(2))
        rows = sorted(chance.randrange(size[1]) for _ in range(2))
        colour = tuple(chance.randrange(256) for _ in range(3))
        draw.rectangle((corners[0], rows[0], corners[1], rows[1]), fill=colour)
    path = folder / f"{number}.{'jpg' if kind == 'jpeg' else 'png'}"
    if kind == "jpeg":
        exif = Image.Exif()
        exif[ORIENTATION] = number // 4 % 8 + 1
        picture.save(path, quality=90, exif=exif)
    elif kind == "alpha":
        picture.putalpha(Image.linear_gradient("L").resize(size))
        picture.save(path)
    else:
        (picture.convert("L") if kind == "grey" else picture).save(path)
    data = path.read_bytes()
    ref = probe(ImageRef(path=str(path.resolve())), data)
    assert ref.digest == hashlib.sha256(data).hexdigest()
    return ref
