"""Contract of tasks."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any, get_args

import pytest

from p2r_bench.adapter import check_boxes
from p2r_bench.errors import UserError
from p2r_bench.tasks.reading import probe, read_image
from p2r_bench.testing.naming import named
from p2r_bench.testing.samples import ANSWER_FORMS
from p2r_bench.types import (
    DataFacts,
    DataKind,
    DataSource,
    DescribedTask,
    Metric,
    Sample,
    ScannedTask,
    Task,
)


class TaskContract:
    """Contract of tasks. Subclass it, name the task and write a few rows in its format; pytest then runs the checks.

        class TestTreeBench(TaskContract):
            task = "TreeBench"

            def write_data(self, folder):
                ...

    Attributes:
        task: The registered name, or the class.
        plugin: The module with the plugin's hooks; without it the plugin has to be installed.
        params: Parameters (`--task-arg`) to read the data with.
    """

    task: Any
    plugin: Any = None
    params: Mapping[str, Any] = {}

    def write_data(self, folder: Path) -> None:
        """Write a few rows in the task's format into the folder. Without an override the task gets no folder."""

    def make(self) -> Task:
        """Return a fresh instance."""
        task: Task = named("task", self.task, self.plugin)()
        return task

    @pytest.fixture
    def source(self, tmp_path: Path) -> DataSource:
        """Source of the data of `write_data`."""
        folder = tmp_path / "data"
        folder.mkdir()
        self.write_data(folder)
        return DataSource(folder if any(folder.iterdir()) else None, params=dict(self.params))

    @pytest.fixture
    def samples(self, source: DataSource) -> list[Sample]:
        """All rows."""
        return list(self.make().samples(source))

    def test_it_is_a_task(self) -> None:
        task = self.make()
        assert isinstance(task, Task), "a task has name, metrics, samples, data_digest and cells"
        assert task.metrics and all(isinstance(metric, Metric) for metric in task.metrics)
        assert isinstance(task.name, str) and task.name
        if isinstance(self.task, str):
            assert task.name == self.task, "`name` must be the name it is registered under"

    def test_rows_are_samples_and_stream(self, source: DataSource) -> None:
        rows = self.make().samples(source)
        assert isinstance(rows, Iterator)
        assert isinstance(next(rows), Sample)

    def test_ids_are_unique_and_stable(self, source: DataSource, samples: list[Sample]) -> None:
        ids = [sample.id for sample in samples]
        assert all(ids) and len(set(ids)) == len(ids)
        assert [sample.id for sample in self.make().samples(source)] == ids

    def test_rows_can_be_stored_and_sent_to_another_process(self, samples: list[Sample]) -> None:
        for sample in samples:
            assert sample.task == self.make().name
            assert pickle.loads(pickle.dumps(sample)) == sample
            json.dumps(dict(sample.meta))

    def test_questions_can_be_asked_and_judged(self, samples: list[Sample]) -> None:
        for sample in samples:
            assert sample.question.strip() and sample.answer_form in ANSWER_FORMS
            if sample.answer_form == "choice":
                assert tuple(sample.options) == tuple(ascii_uppercase[: len(sample.options)])
                assert sample.answer in sample.options
            else:
                assert sample.answer.strip()

    def test_the_bare_question_does_not_hold_the_options(self, samples: list[Sample]) -> None:
        for sample in (sample for sample in samples if sample.options):
            lines = {f"{letter}. {text}" for letter, text in sample.options.items()}
            assert not lines & set(sample.question.splitlines()), (
                "options go into `options`, not into `question`"
            )

    def test_boxes_are_usable(self, samples: list[Sample]) -> None:
        for boxes in (sample.boxes for sample in samples if sample.boxes is not None):
            assert check_boxes(boxes).boxes == boxes, "four finite numbers with x1 < x2 and y1 < y2"
            assert all(-1 <= corner <= 1001 for box in boxes for corner in box.xyxy), (
                "in thousandths of the image"
            )

    def test_images_can_be_read(self, samples: list[Sample]) -> None:
        for sample in samples:
            ref = probe(sample.image, read_image(sample.image))
            assert ref.size is not None and ref.digest

    def test_every_row_counts_in_a_reported_figure(self, samples: list[Sample]) -> None:
        for sample in samples:
            cells = self.make().cells(sample)
            assert cells and len(set(cells)) == len(cells)
            for subset, category in cells:
                assert all(part is None or isinstance(part, str) for part in (subset, category))

    def test_a_metric_per_question_has_questions_of_several_rows(
        self, samples: list[Sample]
    ) -> None:
        if any(metric.per == "question" for metric in self.make().metrics):
            ids = [sample.question_id for sample in samples]
            assert None not in ids and len(set(ids)) < len(ids)

    def test_data_digest_is_stable(self, source: DataSource) -> None:
        digest = self.make().data_digest(source)
        assert isinstance(digest, str) and digest
        assert self.make().data_digest(source) == digest

    def test_other_data_has_another_digest(self, source: DataSource, samples: list[Sample]) -> None:
        files = (
            sorted(p for p in source.data_dir.rglob("*") if p.is_file()) if source.data_dir else []
        )
        read = {sample.image.path for sample in samples}
        rows = [p for p in files if str(p) not in read] or files
        if rows:
            before = self.make().data_digest(source)
            for path in rows:
                path.rename(path.with_name(f"other-{path.name}"))
            assert self._digest_or_refusal(source) != before

    def test_facts_about_the_data_are_usable(
        self, source: DataSource, samples: list[Sample]
    ) -> None:
        task = self.make()
        if not isinstance(task, DescribedTask):
            return
        facts = task.data_facts(source, samples)
        assert isinstance(facts, DataFacts) and facts.kind in get_args(DataKind)
        assert facts.chance is None or 0 <= facts.chance <= 1
        metrics = {metric.name for metric in task.metrics}
        assert set(facts.unavailable) <= metrics, (
            "`unavailable` names a metric that the task has not"
        )
        cells = {cell for sample in samples for cell in task.cells(sample)}
        for reasons in facts.unavailable.values():
            assert set(reasons) <= cells and all(reasons.values()), "every cell needs a reason"
        assert task.data_facts(source, samples) == facts

    def test_a_scan_yields_the_samples(self, source: DataSource, samples: list[Sample]) -> None:
        task = self.make()
        if isinstance(task, ScannedTask):
            rows = task.scan(source)
            assert isinstance(rows, Iterator)
            assert list(rows) == samples, "without a bad row, `scan` and `samples` yield the same"

    def test_missing_data_is_refused_with_the_way_out(self, tmp_path: Path) -> None:
        empty = tmp_path / "empty"
        empty.mkdir()
        with pytest.raises(UserError) as caught:
            list(self.make().samples(DataSource(empty, params=dict(self.params))))
        assert str(empty) in str(caught.value) or self.make().name in str(caught.value)

    def test_unknown_parameter_is_refused(self, source: DataSource) -> None:
        with pytest.raises(UserError, match="no_such_parameter"):
            list(self.make().samples(DataSource(source.data_dir, params={"no_such_parameter": 1})))

    def _digest_or_refusal(self, source: DataSource) -> str | None:
        try:
            return self.make().data_digest(source)
        except UserError:
            return None
