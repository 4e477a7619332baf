"""One sample of a stored run as a picture: every image as sent, and every text.

The images are rendered again from the stored recipes, pixel for pixel, and only enlarged for the page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from p2r_bench.adapter import decode, render
from p2r_bench.errors import ImageError, UserError
from p2r_bench.store.recipes import recipe_from_json
from p2r_bench.store.rows import sample_from_row
from p2r_bench.tasks.reading import read_image

WIDTH, MARGIN, GAP = 1200, 28, 14
LARGEST, FRAME = 330, 4
"""Height in pixels of the tallest image on the page, and the width of the frame around a crop."""
INK, PALE, RIGHT, WRONG = "#1b1f24", "#5b6570", "#1a7f37", "#b42318"

Row = Mapping[str, Any]
Block = tuple[Image.Image, int]
"""Part of the page, and the space below it in pixels."""


def draw(row: Row, verdicts: Sequence[Row], path: Path) -> None:
    """Write the picture of one sample.

    Args:
        row: A row of `samples.parquet`.
        verdicts: The sample's rows of `verdicts.parquet`.
        path: Target file; the suffix decides the format.

    Raises:
        UserError: A missing source image, or a failed write.
    """
    try:
        picture = page(list(blocks(row, verdicts)))
    except ImageError as error:
        raise UserError(f"{row['sample_id']}: {error}; the picture needs the run's data") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, optimize=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be written: {error}; name a .png file") from error


def blocks(row: Row, verdicts: Sequence[Row]) -> Iterator[Block]:
    """Return the parts of the page, from top to bottom."""
    source = decode(read_image(sample_from_row(row).image), exif="ignore", alpha="drop")
    recipes = {r["digest"]: recipe_from_json(r["recipe"]) for r in row["recipes"]}
    options = "   ".join(f"{k}. {v}" for k, v in json.loads(row["options"] or "{}").items())
    size = f"{row['image_width']} x {row['image_height']}"
    yield text(row["question"], 26), 4
    yield text(f"{options}     (source image: {size} pixels)", 18, PALE), 22
    for number, stage in enumerate(row["stages"], start=1):
        tokens = sum(image["visual_tokens"] for image in stage["images"])
        yield text(f"{number}. {stage['role']}: {tokens} visual tokens", 20), 8
        sent = [render(recipes[image["digest"]], source) for image in stage["images"]]
        colours = crop_colours(row, recipes) if len(sent) > 1 else []
        yield strip(sent, [None, *colours][: len(sent)]), 10
        yield text(stage["text"], 18, PALE), 22
    yield outcome(row, verdicts), 0


def crop_colours(row: Row, recipes: Mapping[str, Any]) -> list[str]:
    """Return the outline colour of each crop's box."""
    strokes = recipes[row["annotated"]].strokes
    return [strokes[index].colour for index in row["crop_boxes"]]


def strip(images: list[Image.Image], frames: list[str | None]) -> Image.Image:
    """Return images side by side, each with its size as sent below it."""
    room = WIDTH - 2 * MARGIN - GAP * (len(images) - 1) - 2 * FRAME * len(images)
    height = min(LARGEST, int(room / sum(i.width / i.height for i in images)))
    shown = []
    for image, frame in zip(images, frames, strict=True):
        filter_ = Image.Resampling.NEAREST if height > image.height else Image.Resampling.LANCZOS
        large = image.resize((max(1, round(image.width * height / image.height)), height), filter_)
        framed = ImageOps.expand(large, FRAME, frame or "white")
        caption = text(f"{image.width} x {image.height}", 14, PALE, framed.width)
        shown.append(stacked([(framed, 2), (caption, 0)]))
    joined = Image.new("RGB", (WIDTH - 2 * MARGIN, max(i.height for i in shown)), "white")
    left = 0
    for image in shown:
        joined.paste(image, (left, 0))
        left += image.width + GAP
    return joined


def outcome(row: Row, verdicts: Sequence[Row]) -> Image.Image:
    """Return the answer, the right answer, and every scorer's verdict."""
    words = [f"{v['scorer']}: {'right' if v['correct'] else 'wrong'}" for v in verdicts]
    right = all(v["correct"] for v in verdicts)
    line = f"answer {row['extracted_answer'] or 'none'}, right is {row['answer']}   ({', '.join(words)})"
    return text(line, 22, RIGHT if right else WRONG)


def text(
    content: str, size: int, colour: str = INK, width: int = WIDTH - 2 * MARGIN
) -> Image.Image:
    """Return an image of text wrapped to a width in pixels, in Pillow's own font, which lacks the multiplication sign."""
    font = ImageFont.load_default(size)
    lines: list[str] = []
    for paragraph in content.splitlines() or [""]:
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    step = round(size * 1.35)
    image = Image.new("RGB", (width, step * len(lines)), "white")
    pen = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        pen.text((0, number * step), line, fill=colour, font=font)
    return image


def stacked(parts: list[Block]) -> Image.Image:
    """Return parts from top to bottom, each followed by its space."""
    height = sum(image.height + space for image, space in parts)
    whole = Image.new("RGB", (max(image.width for image, _ in parts), height), "white")
    top = 0
    for image, space in parts:
        whole.paste(image, (0, top))
        top += image.height + space
    return whole


def page(parts: list[Block]) -> Image.Image:
    """Return all parts with a margin around them."""
    return ImageOps.expand(stacked(parts), MARGIN, "white")
