"""The tasks `lmms:NAME`: documents, scoring and aggregation of lmms-eval under p2r-bench's modes and engines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from p2r_bench.tasks.rotations import rotations_numbered
from p2r_bench.types import Cell, DataSource, Metric, Sample
from p2r_bench_lmms_eval.documents import Documents
from p2r_bench_lmms_eval.loading import PREFIX, load_task
from p2r_bench_lmms_eval.scoring import check_scorable


class LmmsTask:
    """Generate-until task of lmms-eval with one image per document.

    The headline scorer is `lmms`: lmms-eval's own. Those of p2r-bench judge choice questions as well. The
    parameter `include_path` names a folder with task files of the user's own.

    Args:
        member: The task's name in lmms-eval.
    """

    metrics = (Metric(),)
    scorer = "lmms"

    def __init__(self, member: str) -> None:
        self.name = f"{PREFIX}{member}"
        self._member = member
        self._documents: tuple[DataSource, Documents] | None = None

    def samples(self, source: DataSource) -> Iterator[Sample]:
        """Yield the documents in order.

        Raises:
            UserError: No such task or no data, a document that is no question about one image, or a scorer
                that cannot work here.
        """
        documents = self._read(source)
        samples = [documents.sample(number) for number in range(len(documents))]
        if documents.known is not None and documents.known.task == "HR-Bench":
            samples = cast("list[Sample]", list(rotations_numbered(iter(samples))))
        choices_only = all(sample.options for sample in samples)
        check_scorable(documents.task, self.name, choices_only=choices_only)
        yield from samples

    def data_digest(self, source: DataSource) -> str:
        """Return the identity of the documents: their fields, and the sizes of their images."""
        return self._read(source).digest()

    def cells(self, sample: Sample) -> tuple[Cell, ...]:
        """Return the overall cell, and that of the document's category."""
        return ((None, None), *([(None, sample.category)] if sample.category else []))

    def _read(self, source: DataSource) -> Documents:
        if self._documents is None or self._documents[0] != source:
            task = load_task(self._member, source)
            self._documents = (source, Documents(task, self._member))
        return self._documents[1]
