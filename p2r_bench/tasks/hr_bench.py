"""HR-Bench: 4K and 8K images, every question asked with four rotations of its options."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from p2r_bench.errors import UserError, counted
from p2r_bench.tasks.benchmark import Benchmark, Scanned, Unique, scan_rows
from p2r_bench.tasks.fields import Row
from p2r_bench.tasks.location import HubDataset, data_folder, image_folder, missing_data
from p2r_bench.tasks.rotations import open_questions, rotations_numbered
from p2r_bench.types import Cell, DataFacts, DataSource, ImageRef, Metric, Sample

SUBSETS = ("4K", "8K")
CATEGORIES = ("single", "cross")
_LETTERS = ("A", "B", "C", "D")
_COLUMNS = ("index", "question", *_LETTERS, "answer", "category", "cycle_category")
_SUBSET = re.compile(r"(?<![0-9])([48])k(?![a-z0-9])", re.IGNORECASE)


class HRBench(Benchmark):
    """HR-Bench's subsets 4K and 8K: all subsets in the folder, or only the subset of the parameter `subset`."""

    name = "HR-Bench"
    metrics = (Metric(), Metric("accuracy_all_rotations", per="question"))
    datasets: tuple[HubDataset, ...] = (HubDataset("DreamMr/HR-Bench", ("*.parquet",)),)
    parameters = frozenset({"subset"})
    known_rows: Mapping[Cell, int] = {("4K", None): 800, ("8K", None): 800}
    known_images: Mapping[Cell, int] = {("4K", None): 200, ("8K", None): 200}

    def files(self, source: DataSource) -> Sequence[tuple[str, Path]]:
        return [
            (f"{subset}/{path.name}", path)
            for subset, paths in self._by_subset(source).items()
            for path in paths
        ]

    def scan(self, source: DataSource) -> Iterator[Scanned]:
        within = image_folder(self.name, source)
        for subset, paths in self._by_subset(source).items():
            yield from rotations_numbered(self._scan_subset(subset, paths, within))

    def data_facts(self, source: DataSource, samples: Sequence[Sample]) -> DataFacts:
        """See `DescribedTask.data_facts`; `accuracy_all_rotations` needs all rotations of all questions of a cell."""
        return replace(super().data_facts(source, samples), unavailable=self._unavailable(samples))

    def _unavailable(self, samples: Sequence[Sample]) -> dict[str, dict[Cell, str]]:
        reasons = open_questions(samples)
        touched: dict[Cell, list[str]] = {}
        for sample in samples:
            if sample.id in reasons:
                for cell in self.cells(sample):
                    touched.setdefault(cell, []).append(sample.id)
        return {
            metric.name: {
                cell: f"{counted(len(ids), 'row')} {'lacks' if len(ids) == 1 else 'lack'} rotations (the first, {ids[0]}: {reasons[ids[0]]})"
                for cell, ids in touched.items()
            }
            for metric in self.metrics
            if metric.per == "question"
        }

    def cells(self, sample: Sample) -> tuple[Cell, ...]:
        return ((sample.subset, None), (sample.subset, sample.category))

    def _scan_subset(self, subset: str, paths: Sequence[Path], within: str) -> Iterator[Scanned]:
        unique = Unique("index")
        for row, image in scan_rows(self.name, paths, _COLUMNS, "image", within):
            try:
                unique.check(row.key("index"), row)
                yield hr_bench_sample(row, image, self.name, subset)
            except UserError as error:
                yield error

    def _by_subset(self, source: DataSource) -> dict[str, list[Path]]:
        self.check_params(source)
        wanted = source.params.get("subset")
        if wanted is not None and wanted not in SUBSETS:
            raise UserError(f"{self.name}: subset {wanted!r} is none of {', '.join(SUBSETS)}")
        folder = data_folder(self.name, source)
        found: dict[str, list[Path]] = {subset: [] for subset in SUBSETS}
        for path in self.shards(source):
            found[_subset_of(path, folder)].append(path)
        kept = {s: paths for s, paths in found.items() if paths and wanted in (None, s)}
        if not kept:
            raise missing_data(self.name, self.datasets, folder, f"no files of subset {wanted}")
        return kept


def _subset_of(path: Path, folder: Path) -> str:
    """Return 4K or 8K, from the first name that contains it: the file's, its folders', the data folder's."""
    names = [*reversed(path.relative_to(folder).parts), folder.resolve().name]
    for name in names:
        if found := {match.upper() for match in _SUBSET.findall(name)}:
            if len(found) == 1:
                return f"{found.pop()}K"
            break
    raise UserError(
        f"{path}: cannot tell whether this is HR-Bench 4K or 8K; "
        "name the file, or the folder it is in, hrbench_4k or hrbench_8k"
    )


def hr_bench_sample(row: Row, image: ImageRef, task: str, subset: str) -> Sample:
    """Return the sample of a row with HR-Bench's columns; `rotations` adds its rotation later.

    Raises:
        UserError: An invalid field.
    """
    options = {letter: text for letter in _LETTERS if (text := row.optional(letter)) is not None}
    if tuple(options) != _LETTERS[: len(options)] or len(options) < 2:
        raise row.error(
            "A, B, C, D", f"options {', '.join(options) or 'none'} where A, B, … should be"
        )
    category = row.text("category").lower()
    if category not in CATEGORIES:
        raise row.error("category", f"{category!r} is none of {', '.join(CATEGORIES)}")
    question = row.text("question")
    lines = [f"{letter}. {text}" for letter, text in options.items()]
    return Sample(
        id=f"{subset}/{row.key('index')}",
        task=task,
        subset=subset,
        category=category,
        image=image,
        question=question,
        options=options,
        answer=row.letter("answer", options),
        boxes=row.boxes(),
        published_question="\n".join([question, "Options:", *lines]),
        meta={"cycle_category": row.key("cycle_category")},
    )
