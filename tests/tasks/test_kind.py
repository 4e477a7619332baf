"""A task knows whether its data is the published one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from p2r_bench.synth import write_synth
from p2r_bench.tasks.benchmark import Benchmark
from p2r_bench.tasks.hr_bench import HRBench
from p2r_bench.tasks.kind import facts_of
from p2r_bench.tasks.location import Origin
from p2r_bench.tasks.mme_realworld import MMERealWorld, MMERealWorldLite
from p2r_bench.tasks.synth_hr import SynthHR
from p2r_bench.tasks.vstar import VStar
from p2r_bench.types import Cell, DataFacts, DataSource, ImageRef, Metric, Sample
from tests.tasks.files import (
    BOXES,
    HR_BENCH,
    MME,
    VSTAR,
    hr_bench_rows,
    mme_row,
    vstar_folder,
    vstar_row,
    vstar_text,
    write,
)


def facts(task: Benchmark, folder: Path, **params: Any) -> DataFacts:
    source = DataSource(folder, params=params)
    return facts_of(task, source, list(task.samples(source)))


def vstar(folder: Path, direct: int = 115, relative: int = 76) -> DataFacts:
    """V* with two options in 84 rows and four in the others."""
    names = ["direct_attributes"] * direct + ["relative_position"] * relative
    many = vstar_text(options=("red", "blue", "green", "white"))
    rows = [
        vstar_row(0, question_id=str(n), category=name, **({"text": many} if n >= 84 else {}))
        for n, name in enumerate(names)
    ]
    write(folder / "test.parquet", rows, VSTAR)
    return facts(VStar(), folder)


def test_all_published_rows_are_the_published_data(tmp_path: Path) -> None:
    found = vstar(tmp_path)
    assert (found.kind, found.note) == ("published", None)
    assert found.chance == pytest.approx(0.360, abs=5e-4)


def test_fewer_rows_are_partial_and_other_rows_are_unknown(tmp_path: Path) -> None:
    few = vstar(tmp_path / "few", 100)
    assert (few.kind, few.note) == ("partial", "176 rows, published are 191")
    assert vstar(tmp_path / "many", 116).kind == "unknown"
    moved = vstar(tmp_path / "moved", 116, 75)
    assert (moved.kind, moved.note) == (
        "unknown",
        "116 rows of direct_attributes, published are 115",
    )


def test_one_subset_of_hr_bench_may_stand_alone(tmp_path: Path) -> None:
    rows = hr_bench_rows(200)
    write(tmp_path / "4k" / "hr_bench_4k.parquet", rows, HR_BENCH)
    assert facts(HRBench(), tmp_path / "4k").kind == "published"
    write(tmp_path / "4k" / "hr_bench_8k.parquet", rows[:-4], HR_BENCH)
    found = facts(HRBench(), tmp_path / "4k")
    assert (found.kind, found.note) == ("partial", "796 rows of 8K, published are 800")


def test_the_lite_rows_are_not_the_full_set_and_the_other_way_round(tmp_path: Path) -> None:
    one = mme_row()
    rows = [{**one, "index": n} for n in range(1919)]
    write(tmp_path / "train.parquet", rows, MME)
    assert facts(MMERealWorldLite(), tmp_path).kind == "published"
    full = facts(MMERealWorld(), tmp_path)
    assert (full.kind, full.note) == ("partial", "1,919 rows, published are 23,609")
    write(tmp_path / "more.parquet", [{**one, "index": n} for n in range(1919, 2000)], MME)
    assert facts(MMERealWorldLite(), tmp_path).kind == "unknown"


@pytest.mark.parametrize("form", ["hrbench", "vstar", "mme"])
def test_synthesised_files_stay_synthetic_wherever_they_are_copied(
    tmp_path: Path, form: str
) -> None:
    task = {"hrbench": HRBench, "vstar": VStar, "mme": MMERealWorld}[form]()
    path = write_synth(tmp_path / "a", seed=0, rows=4, format=form, workers=1)  # type: ignore[arg-type]
    copy = tmp_path / "b" / path.name
    copy.parent.mkdir()
    path.rename(copy)
    assert facts(task, copy.parent).kind == "synthetic"


def test_the_record_of_the_folder_counts_as_well(tmp_path: Path) -> None:
    write(tmp_path / "hr_bench_4k.parquet", hr_bench_rows(200), HR_BENCH)
    Origin("HR-Bench", {}, synthetic=True).write(tmp_path)
    assert facts(HRBench(), tmp_path).kind == "synthetic"
    assert facts_of(SynthHR(), DataSource(), []).kind == "synthetic"


def test_a_column_that_no_published_file_has_makes_it_other_data(tmp_path: Path) -> None:
    rows = [{**row, "boxes": []} for row in hr_bench_rows(200)]
    write(tmp_path / "hr_bench_4k.arrow", rows, pa.schema([*HR_BENCH, BOXES]))
    found = facts(HRBench(), tmp_path)
    assert found.kind == "unknown" and "'boxes'" in (found.note or "")


def test_options_in_a_drawn_order_are_not_the_published_ones(tmp_path: Path) -> None:
    found = facts(VStar(), vstar_folder(tmp_path), option_seed=3)
    assert found.kind == "unknown" and "option_seed=3" in (found.note or "")


class Plain:
    """A third party's task that says nothing about its data."""

    name = "plain"
    metrics = (Metric(),)

    def samples(self, source: DataSource) -> Iterator[Sample]:
        yield Sample("a", "plain", ImageRef(data=b""), "Which?", "A", options={"A": "x", "B": "y"})

    def data_digest(self, source: DataSource) -> str:
        return "d"

    def cells(self, sample: Sample) -> tuple[Cell, ...]:
        return ((None, None),)


def test_a_task_without_data_facts_is_unknown_and_has_a_chance_level() -> None:
    task, source = Plain(), DataSource()
    assert facts_of(task, source, list(task.samples(source))) == DataFacts("unknown", None, 0.5)
