"""Questions about scenes, as rows with HR-Bench's columns plus ground-truth boxes."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from p2r_bench.errors import UserError
from p2r_bench.synth.render import WHOLE, draw_scene
from p2r_bench.synth.scene import Scene, Sign, make_scene

Resolution = Literal["4k", "8k"]
Split = Literal["train", "validation", "test"]

SIZES: dict[str, tuple[int, int]] = {"4k": (3840, 2160), "8k": (7680, 4320)}
SPLITS = ("train", "validation", "test")
CATEGORIES = ("single", "cross")
LETTERS = "ABCD"
ROTATIONS = len(LETTERS)
JPEG_QUALITY = 90


@dataclass(frozen=True)
class Question:
    """A question about one or two signs of a scene, with four options of which the first is right."""

    scene: Scene
    category: str
    """``single``: read one sign's digit. ``cross``: add the digits of two signs."""
    signs: tuple[Sign, ...]
    text: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One rotation of a question's options; the columns of HR-Bench, and boxes."""

    index: int
    question: str
    options: dict[str, str]
    """Letter to text, in order."""
    answer: str
    category: str
    cycle_category: int
    """Rotation of the options, 0 to 3."""
    image: bytes
    """JPEG file; the four rotations share one object."""
    boxes: tuple[tuple[float, float, float, float], ...]
    """x1, y1, x2, y2 in thousandths, of the signs in the question's order."""
    labels: tuple[str, ...]
    """Content of each box, such as ``red sign``."""


def pose(rng: random.Random, scene: Scene, category: str) -> Question:
    """Return a question of the category about random signs of the scene.

    Wrong options are the right answers for other plates of the scene, then for random digits. Their distribution is
    that of the right one, so the options alone reveal nothing.
    """
    plates = [sign.digit for sign in (*scene.signs, *scene.distractors)]
    digits = [rng.randrange(10) for _ in range(40)]
    if category == "single":
        signs = tuple(rng.sample(scene.signs, 1))
        text = f"What digit is on the {signs[0].colour} sign?"
        wrong = [*rng.sample(plates, len(plates)), *digits, *range(10)]
    else:
        signs = tuple(rng.sample(scene.signs, 2))
        first, second = (sign.colour for sign in signs)
        text = f"What is the sum of the digits on the {first} sign and the {second} sign?"
        pairs = [a + b for a, b in combinations(plates, 2)]
        spare = [a + b for a, b in zip(digits[::2], digits[1::2], strict=True)]
        wrong = [*rng.sample(pairs, len(pairs)), *spare, *range(19)]
    right = sum(sign.digit for sign in signs)
    options = list(dict.fromkeys([right, *wrong]))[:ROTATIONS]
    return Question(scene, category, signs, text, tuple(str(option) for option in options))


def rotated(question: Question, start: int, rotation: int) -> tuple[dict[str, str], str]:
    """Return the options by letter, and the right letter, with the list rotated by `start + rotation`."""
    turn = (start + rotation) % len(question.options)
    placed = question.options[turn:] + question.options[:turn]
    options = dict(zip(LETTERS, placed, strict=True))
    return options, next(letter for letter, text in options.items() if text == question.options[0])


def questions(seed: int, count: int, split: Split = "test") -> Iterator[tuple[Question, int]]:
    """Yield the benchmark's questions and their first rotation; single and cross alternate.

    Different splits or seeds share no scenes.
    """
    for i in range(count):
        rng = random.Random(f"synth-hr/questions/{split}/{seed}/{i}")
        scene = make_scene(f"{split}/{seed}/{i}")
        question = pose(rng, scene, CATEGORIES[i % 2])
        yield question, rng.randrange(ROTATIONS)


def jpeg(scene: Scene, resolution: Resolution) -> bytes:
    """Return the scene's image at a resolution, as a JPEG file."""
    buffer = io.BytesIO()
    draw_scene(scene, WHOLE, SIZES[resolution]).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def rows_of(question: Question, start: int, number: int, image: bytes) -> Iterator[Row]:
    """Return the four rows of the `number`-th question."""
    boxes = tuple(
        (round(1000 * x1, 1), round(1000 * y1, 1), round(1000 * x2, 1), round(1000 * y2, 1))
        for x1, y1, x2, y2 in (sign.box for sign in question.signs)
    )
    for rotation in range(ROTATIONS):
        options, answer = rotated(question, start, rotation)
        yield Row(
            index=number * ROTATIONS + rotation,
            question=question.text,
            options=options,
            answer=answer,
            category=question.category,
            cycle_category=rotation,
            image=image,
            boxes=boxes,
            labels=tuple(f"{sign.colour} sign" for sign in question.signs),
        )


def check_arguments(rows: int, resolution: str, split: str) -> None:
    """Check the arguments of a data set.

    Raises:
        UserError: `rows` is not positive, or an unknown resolution or split.
    """
    if rows < 1:
        raise UserError(f"rows: {rows} is not a positive number of rows")
    if resolution not in SIZES:
        raise UserError(f"resolution: {resolution!r} is not known; use one of {', '.join(SIZES)}")
    if split not in SPLITS:
        raise UserError(f"split: {split!r} is not known; use one of {', '.join(SPLITS)}")


def iter_rows(
    seed: int, rows: int, resolution: Resolution = "4k", *, split: Split = "test"
) -> Iterator[Row]:
    """Yield `rows` rows, rendered one by one; every four share a question and an image.

    Raises:
        UserError: An argument is out of range.
    """
    check_arguments(rows, resolution, split)
    count = -(-rows // ROTATIONS)
    for number, (question, start) in enumerate(questions(seed, count, split)):
        image = jpeg(question.scene, resolution)
        for row in rows_of(question, start, number, image):
            if row.index < rows:
                yield row
