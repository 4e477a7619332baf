"""The annotation files of `craigwu/vstar_bench`: target objects and boxes per image, joined to rows by image."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from p2r_bench.adapter.pixels import decode
from p2r_bench.errors import ImageError, UserError
from p2r_bench.tasks.fields import Row, is_number, shown
from p2r_bench.tasks.reading import ImageReader, place, probe
from p2r_bench.types import Box, ImageRef, Sample

CATEGORIES = ("direct_attributes", "relative_position")
_IMAGES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class Annotation:
    """One annotated image.

    Attributes:
        category: Name of the annotation's folder.
        file: The JSON file.
        image: The image beside it.
        within: See `ImageRef`.
        options: The first is right.
        targets: Names of the objects in the question.
        bbox: x, y, width, height of each, in pixels.
    """

    category: str
    file: Path
    image: Path
    question: str
    options: tuple[str, ...]
    targets: tuple[str, ...]
    bbox: tuple[tuple[float, float, float, float], ...]
    within: str | None = None

    @property
    def ref(self) -> ImageRef:
        """Return the reference of the image file."""
        return ImageRef(path=str(self.image), within=self.within)

    def boxes(self) -> tuple[Box, ...]:
        """Return the boxes in thousandths of the image.

        Raises:
            UserError: An unreadable image, or a box outside it.
        """
        try:
            size = probe(self.ref, ImageReader(0).read(self.ref)).size
        except ImageError as error:
            raise UserError(str(error)) from error
        assert size is not None
        width, height = size
        boxes = []
        for label, (x, y, w, h) in zip(self.targets, self.bbox, strict=True):
            if x >= width or y >= height or x + w <= 0 or y + h <= 0:
                raise Row(self.file, None, {}).error(
                    "bbox", f"{[x, y, w, h]} lies outside the image of {width}×{height} pixels"
                )
            sides = (x / width, y / height, (x + w) / width, (y + h) / height)
            boxes.append(
                Box((sides[0] * 1000, sides[1] * 1000, sides[2] * 1000, sides[3] * 1000), label)
            )
        return tuple(boxes)


def read_annotations(folder: Path, within: str | None = None) -> Iterator[Annotation | UserError]:
    """Yield all annotations below `folder`, by category and name, or their errors."""
    for category, file in annotation_files(folder):
        try:
            yield _read(file, category, within)
        except UserError as error:
            yield error


def annotation_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the category and JSON file of every annotation below `folder`."""
    for category in CATEGORIES:
        for beside in sorted(path for path in folder.rglob(category) if path.is_dir()):
            for file in sorted(beside.glob("*.json")):
                if file.is_file():
                    yield category, file


def images_beside(annotation: Path) -> list[Path]:
    """Return the image of an annotation file; empty without one."""
    found = (annotation.with_suffix(suffix) for suffix in _IMAGES)
    return [path for path in found if path.is_file()][:1]


def _read(file: Path, category: str, within: str | None) -> Annotation:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{file}: not a JSON object")
    row = Row(file, None, values)
    if not (images := images_beside(file)):
        raise UserError(
            f"{file}: no image {file.stem}.jpg (or .png) beside it; fetch the folder again"
        )
    options = _texts(row, "options")
    if len(options) < 2:
        raise row.error("options", f"{shown(options)} where two or more options should be")
    targets = _texts(row, "target_object")
    bbox = values.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != len(targets):
        raise row.error("bbox", f"not one box per target_object ({len(targets)})")
    for box in bbox:
        if not (isinstance(box, list) and len(box) == 4 and all(map(is_number, box))):
            raise row.error("bbox", f"{shown(box)} where x, y, width, height should be")
        if box[2] <= 0 or box[3] <= 0:
            raise row.error("bbox", f"{box!r} has no area")
    boxes = tuple((float(x), float(y), float(w), float(h)) for x, y, w, h in bbox)
    question = row.text("question")
    return Annotation(category, file, images[0], question, options, targets, boxes, within)


def _texts(row: Row, field: str) -> tuple[str, ...]:
    values = row.values.get(field)
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise row.error(field, f"{shown(values)} where a list of texts should be")
    return tuple(values)


Identity = Callable[[ImageRef], object]


def join(
    samples: Sequence[Sample],
    annotations: Sequence[Annotation],
    *,
    bad_rows: int = 0,
    bad_annotations: int = 0,
) -> dict[str, Annotation]:
    """Return the annotation of the same image and category for each sample id.

    Images are compared as files, byte for byte; remaining ones are compared by pixels, for copies that were losslessly
    re-encoded. The question distinguishes annotations of the same image.

    Args:
        bad_rows, bad_annotations: Numbers of unreadable rows and annotations, whose partners may stay unmatched.

    Raises:
        UserError: More samples or annotations than `bad_rows` and `bad_annotations` explain have no unique partner.
    """
    joined: dict[str, Annotation] = {}
    reader = ImageReader(0)
    for identity in (_file_identity(reader), _pixel_identity(reader)):
        left = [sample for sample in samples if sample.id not in joined]
        taken = {annotation.file for annotation in joined.values()}
        partners: dict[object, list[Annotation]] = defaultdict(list)
        for annotation in annotations if left else ():
            if annotation.file not in taken:
                key = identity(annotation.ref)
                partners[annotation.category, key].append(annotation)
        for sample in left:
            found = partners.get((sample.category, identity(sample.image)), [])
            if len(found) > 1:
                found = [a for a in found if a.question.casefold() == sample.question.casefold()]
            if len(found) == 1 and found[0].file not in taken:
                joined[sample.id] = found[0]
                taken.add(found[0].file)
    lonely = [sample.id for sample in samples if sample.id not in joined]
    taken = {annotation.file for annotation in joined.values()}
    spare = [str(a.file) for a in annotations if a.file not in taken]
    if len(lonely) > bad_annotations or len(spare) > bad_rows:
        first = (
            f"row {lonely[0]} has no annotation of its image"
            if lonely
            else f"{spare[0]} has no row"
        )
        raise UserError(
            f"V-Star: only {len(joined)} of {len(samples)} rows and {len(annotations)} annotation files match by "
            f"image (first: {first}). Fetch both again with `p2r-bench data fetch V-Star`, or keep only one of "
            "the two in the data folder: rows alone have no boxes"
        )
    return joined


def _file_identity(reader: ImageReader) -> Identity:
    def identity(ref: ImageRef) -> object:
        return hashlib.sha256(_bytes(reader, ref)).digest()

    return identity


def _pixel_identity(reader: ImageReader) -> Identity:
    def identity(ref: ImageRef) -> object:
        data = _bytes(reader, ref)
        try:
            image = decode(data, exif="ignore")
        except ImageError as error:
            raise UserError(f"{place(ref)}: {error}") from error
        return image.size, hashlib.sha256(image.tobytes()).digest()

    return identity


def _bytes(reader: ImageReader, ref: ImageRef) -> bytes:
    try:
        return reader.read(ref)
    except ImageError as error:
        raise UserError(str(error)) from error
