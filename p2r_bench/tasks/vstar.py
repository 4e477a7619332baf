"""V* Bench: rows with the published order of options, and files with the boxes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from p2r_bench.errors import UserError
from p2r_bench.tasks.benchmark import Benchmark, Scanned, Unique, scan_rows
from p2r_bench.tasks.fields import Row, shown
from p2r_bench.tasks.location import HubDataset, data_folder, image_folder, missing_data
from p2r_bench.tasks.options import split_marked
from p2r_bench.tasks.shards import find_shards
from p2r_bench.tasks.vstar_boxes import (
    CATEGORIES,
    Annotation,
    annotation_files,
    images_beside,
    join,
    read_annotations,
)
from p2r_bench.types import Cell, DataFacts, DataSource, ImageRef, Sample

_COLUMNS = ("text", "category", "label", "question_id")
_QUESTIONS = "test_questions.jsonl"
_INSTRUCTION = re.compile(
    r"(?:\s*\n\s*(?:please\s+)?(?:answer|respond|reply|select|choose)|\s+answer with)\b"
    r"[^\n]*\b(?:letter|option|choice)s?\b[^\n]*\s*\Z",
    re.IGNORECASE,
)


class VStar(Benchmark):
    """191 questions about a small detail of a photograph.

    Sources: the rows of `lmms-lab/vstar-bench` (or its copy `lmms-lab-encoder/vstar-bench`), the files of
        `craigwu/vstar_bench`, or both in one folder. Both are joined by image, which adds ground-truth boxes to the
        rows. Files alone list the right option first, so the parameter `option_seed` draws an order; such numbers are
        not comparable with published ones.
    """

    name = "V-Star"
    datasets = (
        HubDataset("lmms-lab/vstar-bench", ("*.parquet",), "vstar-bench"),
        HubDataset(
            "craigwu/vstar_bench",
            (*(f"{category}/*" for category in CATEGORIES), _QUESTIONS),
            "vstar_bench",
        ),
    )
    parameters = frozenset({"option_seed"})
    known_rows = {  # noqa: RUF012
        (None, None): 191,
        (None, "direct_attributes"): 115,
        (None, "relative_position"): 76,
    }
    known_images = known_rows

    def files(self, source: DataSource) -> Sequence[tuple[str, Path]]:
        folder = data_folder(self.name, source)
        found = [(path.name, path) for path in [*find_shards(folder), *_question_files(folder)]]
        for category, path in annotation_files(folder):
            found += [(f"{category}/{one.name}", one) for one in (path, *images_beside(path))]
        if not found:
            raise self._missing(folder)
        return found

    def scan(self, source: DataSource) -> Iterator[Scanned]:
        self.check_params(source)
        folder = data_folder(self.name, source)
        within = image_folder(self.name, source)
        annotations = list(read_annotations(folder, within))
        if shards := find_shards(folder):
            rows = scan_rows(self.name, shards, _COLUMNS, "image", within)
            yield from _with_boxes(self._from_rows(rows), annotations)
        elif questions := _question_files(folder):
            yield from _with_boxes(
                self._from_rows(_question_lines(questions[0], within)), annotations
            )
        elif annotations:
            yield from self._from_annotations(annotations, source.params.get("option_seed", 0))
        else:
            raise self._missing(folder)

    def data_facts(self, source: DataSource, samples: Sequence[Sample]) -> DataFacts:
        """See `DescribedTask.data_facts`; options in a drawn order are not the published data."""
        facts = super().data_facts(source, samples)
        if facts.kind != "synthetic" and any("option_seed" in sample.meta for sample in samples):
            seed = source.params.get("option_seed", 0)
            return replace(
                facts, kind="unknown", note=f"options in an order drawn with option_seed={seed}"
            )
        return facts

    def cells(self, sample: Sample) -> tuple[Cell, ...]:
        return ((None, None), (None, sample.category))

    def _missing(self, folder: Path) -> UserError:
        return missing_data(
            self.name,
            self.datasets,
            folder,
            f"no parquet or arrow files and no folders {' and '.join(CATEGORIES)}",
        )

    def _from_rows(self, rows: Iterator[tuple[Row, ImageRef] | UserError]) -> Iterator[Scanned]:
        unique = Unique("question_id")
        for found in rows:
            if isinstance(found, UserError):
                yield found
                continue
            row, image = found
            try:
                sample = self.row_sample(row, image)
                unique.check(sample.id, row)
                yield sample
            except UserError as error:
                yield error

    def row_sample(self, row: Row, image: ImageRef) -> Sample:
        """Return the sample of one row, without additions from other rows or files.

        Raises:
            UserError: An invalid field.
        """
        text = _INSTRUCTION.sub("", row.text("text")).rstrip()
        split = split_marked(text)
        if split is None:
            raise row.error(
                "text", f"{shown(text)} does not end in options (A) …, (B) …, and so on"
            )
        question, options = split
        category = row.text("category")
        if category not in CATEGORIES:
            raise row.error("category", f"{category!r} is none of {', '.join(CATEGORIES)}")
        return Sample(
            id=f"{category}/{row.key('question_id')}",
            task=self.name,
            category=category,
            image=image,
            question=question,
            options=options,
            answer=row.letter("label", options),
            boxes=row.boxes(),
            published_question=text,
        )

    def _from_annotations(
        self, annotations: Sequence[Annotation | UserError], seed: int
    ) -> Iterator[Scanned]:
        for annotation in annotations:
            if isinstance(annotation, UserError):
                yield annotation
                continue
            try:
                yield self._from_annotation(annotation, seed)
            except UserError as error:
                yield error

    def _from_annotation(self, annotation: Annotation, seed: int) -> Sample:
        name = f"{annotation.category}/{annotation.image.stem}"

        def rank(place: int) -> str:
            return hashlib.sha256(f"{seed}/{name}/{place}".encode()).hexdigest()

        order = sorted(range(len(annotation.options)), key=rank)
        letters = [chr(ord("A") + i) for i in range(len(order))]
        options = {
            letter: annotation.options[place] for letter, place in zip(letters, order, strict=True)
        }
        lines = [f"({letter}) {text}" for letter, text in options.items()]
        return Sample(
            id=name,
            task=self.name,
            category=annotation.category,
            image=annotation.ref,
            question=annotation.question,
            options=options,
            answer=letters[order.index(0)],
            boxes=annotation.boxes(),
            published_question="\n".join([annotation.question, *lines]),
            meta={"option_seed": seed},
        )


def _question_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob(_QUESTIONS) if path.is_file())


def _question_lines(path: Path, within: str) -> Iterator[tuple[Row, ImageRef] | UserError]:
    """Yield the samples of `test_questions.jsonl`, whose images are files beside it, or the errors of its lines."""
    for number, line in enumerate(path.read_bytes().splitlines()):
        if not line.strip():
            continue
        try:
            values = json.loads(line.decode())
            if not isinstance(values, dict):
                raise ValueError("not an object")
            row = Row(path, number, values)
            yield row, ImageRef(path=str(path.parent / row.text("image")), within=within)
        except (ValueError, RecursionError) as error:
            yield UserError(f"{path}, row {number}: not a JSON object in UTF-8: {error}")
        except UserError as error:
            yield error


def _with_boxes(
    scanned: Iterator[Scanned], annotations: Sequence[Annotation | UserError]
) -> Iterator[Scanned]:
    """Yield the samples with the boxes of their image's annotation, if there are annotations.

    The row of an unreadable annotation is a bad row.
    """
    if not annotations:
        yield from scanned
        return
    held = list(scanned)
    samples = [one for one in held if isinstance(one, Sample)]
    read = [one for one in annotations if isinstance(one, Annotation)]
    bad = [one for one in annotations if isinstance(one, UserError)]
    joined = join(samples, read, bad_rows=len(held) - len(samples), bad_annotations=len(bad))
    for sample in held:
        if not isinstance(sample, Sample):
            yield sample
        elif sample.id in joined:
            try:
                yield replace(sample, boxes=joined[sample.id].boxes())
            except UserError as error:
                yield error
    yield from bad
