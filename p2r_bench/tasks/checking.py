"""Checks of a task's data: rows, counts, rotations and images."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2r_bench.adapter.pixels import decode
from p2r_bench.errors import ImageError, UserError, counted
from p2r_bench.tasks.benchmark import Benchmark
from p2r_bench.tasks.hr_bench import HRBench
from p2r_bench.tasks.kind import compared, facts_of, rows_by_cell
from p2r_bench.tasks.location import Origin, data_folder
from p2r_bench.tasks.options import labelled
from p2r_bench.tasks.reading import MAX_ASPECT, ImageReader, place, probe
from p2r_bench.tasks.rotations import open_questions
from p2r_bench.types import Cell, DataFacts, DataSource, ImageRef, Sample, ScannedTask, Task

_PLACEHOLDER = re.compile(r"<\|?(?:image|img|vision)[\w ]*\|?>", re.IGNORECASE)
_EMPTY_FIELDS = {"nan", "<na>"}


@dataclass(frozen=True)
class Finding:
    """A fault. `kind` is "file", "row", "count", "question", "options", "rotations", "image" or "aspect"."""

    kind: str
    problem: str
    sample_id: str | None = None


@dataclass
class Report:
    """Findings and counts of a check."""

    task: str
    folder: Path
    origin: Origin | None
    digest: str
    facts: DataFacts = field(default_factory=DataFacts)
    rows: dict[Cell, int] = field(default_factory=dict)
    expected: dict[Cell, int] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)
    images: int = 0
    findings: list[Finding] = field(default_factory=list)
    decoded: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return {
            "task": self.task,
            "data_dir": str(self.folder),
            "revisions": self.origin.revisions if self.origin else {},
            "data_kind": self.facts.kind,
            "data_note": self.facts.note,
            "chance": self.facts.chance,
            "data_digest": self.digest,
            "rows": [
                {"subset": s, "category": c, "rows": n, "expected": self.expected.get((s, c))}
                for (s, c), n in self.rows.items()
            ],
            "columns": self.columns,
            "images": {"read": self.images, "decoded": self.decoded},
            "findings": [vars(finding) for finding in self.findings],
        }


Tick = Callable[[], None]


def check(
    task: Task, source: DataSource, *, decode: bool = True, tick: Tick = lambda: None
) -> Report:
    """Read everything that a run would read, and report its faults.

    Args:
        decode: Decode every image; otherwise only headers are read, which misses truncated files.
        tick: Function called after each row.

    Raises:
        UserError: No data is found.
    """
    folder = data_folder(task.name, source)
    report = Report(
        task.name, folder, Origin.read(folder), task.data_digest(source), decoded=decode
    )
    report.columns = _columns(task, source)
    samples = list(_samples(task, source, report))
    report.facts = facts_of(task, source, samples, whole=not report.findings)
    _count(task, samples, report)
    _check_questions(samples, report)
    _check_options(samples, report)
    _check_rotations(task, samples, report)
    _check_images(samples, report, decode, tick)
    if not samples and not report.findings:
        report.findings.append(Finding("count", "there are no rows; fetch the data again"))
    return report


def _samples(task: Task, source: DataSource, report: Report) -> Iterator[Sample]:
    try:
        for item in task.scan(source) if isinstance(task, ScannedTask) else task.samples(source):
            if isinstance(item, Sample):
                yield item
            else:
                report.findings.append(Finding("row", str(item)))
    except UserError as error:
        report.findings.append(Finding("file", str(error)))


def _columns(task: Task, source: DataSource) -> dict[str, list[str]]:
    """Return the columns by file; files with equal columns appear once, under the first one's name."""
    from p2r_bench.tasks.shards import open_shard

    if not isinstance(task, Benchmark):
        return {}
    columns: dict[str, list[str]] = {}
    for label, path in task.files(source):
        if path.suffix in (".parquet", ".arrow"):
            try:
                names = open_shard(path).schema.names
            except UserError:
                continue  # `scan` reports it
            if names not in columns.values():
                columns[label] = names
    return columns


def _count(task: Task, samples: Iterable[Sample], report: Report) -> None:
    counts = rows_by_cell(task, samples)
    report.rows = dict(
        sorted(counts.items(), key=lambda item: tuple(part or "" for part in item[0]))
    )
    if report.facts.kind == "synthetic":
        return
    known = task.known_rows if isinstance(task, Benchmark) else {}
    for cell, (here, expected) in compared(counts, known).items():
        report.expected[cell] = expected
        if here != expected:
            name = " ".join(part for part in cell if part) or "all"
            report.findings.append(
                Finding("count", f"{name}: {counted(here, 'row')}, published are {expected:,}")
            )


def _check_questions(samples: Iterable[Sample], report: Report) -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        for placeholder in dict.fromkeys(_PLACEHOLDER.findall(sample.question)):
            found[placeholder].append(sample.id)
    for placeholder, ids in found.items():
        problem = (
            f"question holds the placeholder {placeholder}; the model would get it as text. "
            f"Remove it from the data ({counted(len(ids), 'row')})"
        )
        report.findings.append(Finding("question", problem, ids[0]))


def _check_options(samples: Iterable[Sample], report: Report) -> None:
    own: list[Sample] = []
    for sample in samples:
        letters: dict[str, list[str]] = defaultdict(list)
        for letter, text in sample.options.items():
            letters[unicodedata.normalize("NFC", text)].append(letter)
        for text, found in letters.items():
            names = " and ".join(found)
            if not text:
                problem = f"option {names} has no text"
            elif text.lower() in _EMPTY_FIELDS:
                problem = f"option {names} is {text!r}, which is how tools write an empty field"
            elif len(found) > 1:
                problem = f"options {names} are equal: {text!r}"
            else:
                continue
            report.findings.append(Finding("options", problem, sample.id))
        if labelled(sample.options):
            own.append(sample)
        for letter in sample.meta.get("repeated_letters", ()):
            problem = f"several options have the letter {letter}; an answer {letter} stands for all of them"
            report.findings.append(Finding("options", problem, sample.id))
    if own:
        letter, text = next(iter(own[0].options.items()))
        problem = (
            f"options are stored with their letters ({text!r} under {letter}), so the model would get each letter "
            "twice and rotations of a question cannot be recognised. Remove the letters from the data "
            f"({counted(len(own), 'row')})"
        )
        report.findings.append(Finding("options", problem, own[0].id))


def _check_rotations(task: Task, samples: Iterable[Sample], report: Report) -> None:
    if not isinstance(task, HRBench):
        return
    held = {sample.id: sample for sample in samples}
    questions: dict[str | None, list[str]] = defaultdict(list)
    for sample_id, reason in open_questions(held.values()).items():
        if labelled(held[sample_id].options):
            continue  # the cause is reported with the options
        questions[held[sample_id].question_id].append(reason)
    for question_id, reasons in questions.items():
        rows = f"{counted(len(reasons), 'row')}: " if question_id is None else ""
        report.findings.append(Finding("rotations", rows + reasons[0], question_id))


def _check_images(samples: Iterable[Sample], report: Report, decode: bool, tick: Tick) -> None:
    reader = ImageReader()
    workers = os.cpu_count() or 1
    decoding: deque[tuple[Sample, Future[str | None]]] = deque()
    seen: set[str | None] = set()

    def settle(limit: int) -> None:
        while len(decoding) > limit:
            sample, future = decoding.popleft()
            if problem := future.result():
                report.findings.append(
                    Finding("image", f"{place(sample.image)}: {problem}", sample.id)
                )

    with ThreadPoolExecutor(workers) as pool:
        for sample in samples:
            try:
                data = reader.read(sample.image)
                ref = probe(sample.image, data)
            except ImageError as error:
                report.findings.append(Finding("image", str(error), sample.id))
            else:
                report.images += 1
                _check_aspect(sample, ref, report)
                if decode and ref.digest not in seen:
                    seen.add(ref.digest)
                    decoding.append((sample, pool.submit(_problem, data)))
            settle(2 * workers)
            tick()
        settle(0)


def _check_aspect(sample: Sample, ref: ImageRef, report: Report) -> None:
    assert ref.size is not None
    long, short = max(ref.size), min(ref.size)
    if long > MAX_ASPECT * short:
        problem = f"{place(ref)}: {ref.size[0]}×{ref.size[1]} pixels: longer than {MAX_ASPECT}:1"
        report.findings.append(Finding("aspect", problem, sample.id))


def _problem(data: bytes) -> str | None:
    """Return the reason why an image file cannot be decoded, or None."""
    try:
        decode(data)
    except ImageError as error:
        return str(error)
    return None
