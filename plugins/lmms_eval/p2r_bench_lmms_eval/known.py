"""Tasks of lmms-eval that p2r-bench reads itself, recognised by their scorer and their columns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from p2r_bench.tasks.fields import Row
from p2r_bench.tasks.hr_bench import hr_bench_sample
from p2r_bench.tasks.mme_realworld import MMERealWorld
from p2r_bench.tasks.vstar import VStar
from p2r_bench.types import ImageRef, Sample

_SUBSET = re.compile(r"(?<![0-9])([48])k(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class Known:
    """Benchmark that both lmms-eval and p2r-bench read.

    Attributes:
        task: The benchmark's name in p2r-bench.
        scorer: Name of lmms-eval's `process_results` function: copies of a task under another name keep it,
            variants that want another form of answer do not.
        image: Column of the image.
        columns: Columns that its rows must have.
    """

    task: str
    scorer: str
    image: str
    columns: frozenset[str]

    def sample(self, row: Row, image: ImageRef, where: str) -> Sample:
        """Return the sample that p2r-bench's own task makes of a row.

        Args:
            where: Split and name of the task; HR-Bench's say whether it is 4K or 8K.

        Raises:
            UserError: A field is invalid.
        """
        if self.task == VStar.name:
            return VStar().row_sample(row, image)
        if self.task == MMERealWorld.name:
            return MMERealWorld().row_sample(row, image)
        found = _SUBSET.search(where)
        return hr_bench_sample(row, image, self.task, f"{found[1]}K" if found else "4K")


_KNOWN = (
    Known(
        VStar.name,
        "vstar_process_results",
        "image",
        frozenset({"text", "category", "label", "question_id"}),
    ),
    Known(
        "HR-Bench",
        "hrbench_process_results",
        "image",
        frozenset({"index", "question", "A", "B", "answer", "category", "cycle_category"}),
    ),
    Known(
        MMERealWorld.name,
        "mme_realworld_process_results",
        "bytes",
        frozenset({"index", "question", "multi-choice options", "answer", "category"}),
    ),
)


def known_benchmark(task: Any, columns: Iterable[str]) -> Known | None:
    """Return the benchmark of p2r-bench with the data of an lmms-eval task, or None."""
    scorer = getattr(task.config.process_results, "__name__", None)
    have = set(columns)
    return next(
        (k for k in _KNOWN if k.scorer == scorer and k.columns <= have and k.image in have), None
    )
