"""Runs of documents through p2r-bench's pipeline. Each task has its own run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from p2r_bench.session import Interrupted, RunSpec, SampleSet, run_all
from p2r_bench.store.reader import RunReader
from p2r_bench.store.rows import prediction_from_row
from p2r_bench.types import Prediction, Sample
from p2r_bench_lmms_eval.documents import Documents

Key = tuple[int, int]
"""Number of a document, and of the repeat."""


@dataclass
class Job:
    """Documents of one task that lmms-eval asks for, and their outcomes.

    Attributes:
        wanted: Documents and repeats.
        predictions: Predictions by document and repeat. `run_jobs` fills in this field and the next two.
        path: The run folder.
        reused: Number of predictions that an earlier run had made.
    """

    documents: Documents
    wanted: Sequence[Key]
    samples: dict[int, Sample] = field(default_factory=dict)
    predictions: dict[Key, Prediction] = field(default_factory=dict)
    path: Path | None = None
    reused: int = 0

    @property
    def repeats(self) -> int:
        """Number of repeats needed: one more than the highest repeat wanted."""
        return 1 + max(repeat for _, repeat in self.wanted)


def run_jobs(spec: RunSpec, jobs: Sequence[Job]) -> None:
    """Solve the documents that are missing in the run folders, task by task, and fill in the predictions.

    Args:
        spec: With `out`, and without task and data.

    Raises:
        UserError: Something the user can put right; nothing recorded is lost.
        Interrupted: SIGINT or SIGTERM came.
    """
    for job in jobs:
        for doc_id, _ in job.wanted:
            if doc_id not in job.samples:
                job.samples[doc_id] = job.documents.sample(doc_id)
    specs = [replace(spec, task=job.documents.name, repeats=job.repeats) for job in jobs]
    results = run_all(specs, samples=[_sample_set(job) for job in jobs])
    if len(results) < len(jobs) or any(result.interrupted for result in results):
        raise Interrupted(results)
    for job, result in zip(jobs, results, strict=True):
        job.path = result.path
        _collect(job)
        job.reused = len(job.wanted) - result.added


def _sample_set(job: Job) -> SampleSet:
    ids = [str(number) for number in range(len(job.documents))]
    return SampleSet(job.samples, job.documents.digest(), ids, scorer="lmms", judged=False)


def _collect(job: Job) -> None:
    assert job.path is not None
    wanted = set(job.wanted)
    for row, _ in RunReader(job.path).outcomes():
        key = (int(row["sample_id"]), row["repeat"])
        if key in wanted:
            job.predictions[key] = prediction_from_row(row)
