"""MME-RealWorld and its lite version, in the row format made for lmms-eval."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from p2r_bench.errors import UserError
from p2r_bench.tasks.benchmark import Benchmark, Scanned, Unique, scan_rows
from p2r_bench.tasks.fields import Row
from p2r_bench.tasks.location import HubDataset, image_folder
from p2r_bench.tasks.options import read_options
from p2r_bench.types import Cell, DataSource, ImageRef, Sample

_OPTIONS = "multi-choice options"
_COLUMNS = ("index", "question", _OPTIONS, "answer", "category")

_DOMAINS = {
    "OCR with Complex Context": "OCR",
    "Remote Sensing": "RS",
    "Diagram and Table": "DT",
    "Monitoring": "MO",
    "Autonomous_Driving": "AD",
}
_SKILLS = ("Perception", "Reasoning")


def reported_category(category: str) -> str | None:
    """Return "Perception/OCR" for "Perception/OCR with Complex Context", as in published tables; None if unknown."""
    skill, _, domain = category.partition("/")
    skill = skill.strip().capitalize()
    short = _SHORT.get(_plain(domain))
    return f"{skill}/{short}" if skill in _SKILLS and short is not None else None


def _plain(domain: str) -> str:
    return re.sub(r"[\s_]+", " ", domain).strip().lower()


_SHORT = {_plain(name): short for long, short in _DOMAINS.items() for name in (long, short)}


class MMERealWorld(Benchmark):
    """Real-world images with up to six options; reported by Perception and Reasoning and their domains."""

    name = "MME-RealWorld"
    datasets = (HubDataset("yifanzhang114/MME-RealWorld-Lmms-eval", ("*.parquet",)),)
    known_rows: Mapping[Cell, int] = {(None, None): 23_609}

    def files(self, source: DataSource) -> Sequence[tuple[str, Path]]:
        return [(path.name, path) for path in self.shards(source)]

    def scan(self, source: DataSource) -> Iterator[Scanned]:
        self.check_params(source)
        unique = Unique("index")
        within = image_folder(self.name, source)
        for row, image in scan_rows(self.name, self.shards(source), _COLUMNS, "bytes", within):
            try:
                unique.check(row.key("index"), row)
                yield self.row_sample(row, image)
            except UserError as error:
                yield error

    def row_sample(self, row: Row, image: ImageRef) -> Sample:
        """Return the sample of one row, without additions from other rows or files.

        Raises:
            UserError: An invalid field.
        """
        options = read_options(row, _OPTIONS, "answer")
        category = row.text("category")
        if reported_category(category) is None:
            known = ", ".join(f"{skill}/{domain}" for skill in _SKILLS for domain in _DOMAINS)
            raise row.error("category", f"{category!r} is none of {known}")
        question = row.text("question")
        return Sample(
            id=row.key("index"),
            task=self.name,
            category=category,
            image=image,
            question=question,
            options=options.texts,
            answer=row.letter("answer", options.texts),
            boxes=row.boxes(),
            published_question="\n".join([question, *options.stored]),
            meta={
                "l2_category": row.optional("l2-category"),
                **({"repeated_letters": list(options.repeated)} if options.repeated else {}),
            },
        )

    def cells(self, sample: Sample) -> tuple[Cell, ...]:
        reported = reported_category(sample.category or "") or ""
        return ((None, None), (None, reported.partition("/")[0]), (None, reported))


class MMERealWorldLite(MMERealWorld):
    """The lite version: the same format, at most 50 rows per sub-task."""

    name = "MME-RealWorld-lite"
    datasets = (HubDataset("yifanzhang114/MME-RealWorld-lite-lmms-eval", ("*.parquet",)),)
    known_rows: Mapping[Cell, int] = {(None, None): 1_919}
    known_images: Mapping[Cell, int] = {(None, None): 1_537}
