"""HR-Bench rows become samples; what is wrong in them is said with file, row and field."""

from __future__ import annotations

import base64
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from p2r_bench.errors import UserError
from p2r_bench.tasks.hr_bench import HRBench
from p2r_bench.tasks.reading import read_image
from p2r_bench.types import Box, DataSource, Task
from tests.tasks.files import BOXES, HR_BENCH, encoded, hr_bench_rows, picture, write


def source(folder: Path, **params: Any) -> DataSource:
    return DataSource(folder, params=params)


@pytest.mark.parametrize(
    "name",
    [
        "hr_bench_4k.parquet",
        "data/hrbench_4k-00000-of-00001.parquet",
        "hrbench_version_split/0.0.0/hr-bench-hrbench_4k.arrow",
        "hrbench_4k/data-00000-of-00001.arrow",
    ],
)
def test_rows_load_from_every_layout(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, hr_bench_rows(2), HR_BENCH)
    samples = list(HRBench().samples(source(tmp_path)))
    assert [s.id for s in samples] == [f"4K/{i}" for i in range(8)]
    second = samples[1]
    assert (second.subset, second.category, second.answer) == ("4K", "single", "C")
    assert second.options == {"A": "white", "B": "red", "C": "green", "D": "blue"}
    assert second.question == "What colour is the cup?"
    assert second.published_question == (
        "What colour is the cup?\nOptions:\nA. white\nB. red\nC. green\nD. blue"
    )
    assert second.boxes is None
    assert read_image(samples[4].image) == encoded(picture(1))


def test_samples_carry_no_image_bytes(tmp_path: Path) -> None:
    write(tmp_path / "hr_bench_4k.parquet", hr_bench_rows(1), HR_BENCH)
    assert all(s.image.data is None for s in HRBench().samples(source(tmp_path)))


@pytest.mark.parametrize("cycles_outside", [False, True])
def test_rotations_of_a_question_share_its_id(tmp_path: Path, cycles_outside: bool) -> None:
    rows = hr_bench_rows(6, cycles_outside=cycles_outside)
    write(tmp_path / "hr_bench_4k.parquet", rows, HR_BENCH)
    samples = list(HRBench().samples(source(tmp_path)))
    groups: dict[str, list[Any]] = {}
    for sample, row in zip(samples, rows, strict=True):
        groups.setdefault(sample.question_id or "", []).append((sample.rotation, row["image"]))
    assert len(groups) == 6, "questions that differ only in their image stay apart"
    for members in groups.values():
        assert sorted(rotation for rotation, _ in members) == [0, 1, 2, 3]
        assert len({image for _, image in members}) == 1


def test_both_subsets_are_reported_apart(tmp_path: Path) -> None:
    for name in ("4k", "8k"):
        write(tmp_path / f"hr_bench_{name}.parquet", hr_bench_rows(2), HR_BENCH)
    task: Task = HRBench()
    samples = list(task.samples(source(tmp_path)))
    counts = Counter(cell for sample in samples for cell in task.cells(sample))
    assert counts == {
        (subset, category): n
        for subset in ("4K", "8K")
        for category, n in ((None, 8), ("single", 4), ("cross", 4))
    }
    assert len({sample.question_id for sample in samples}) == 4
    assert [(m.name, m.per) for m in task.metrics] == [
        ("accuracy", "sample"),
        ("accuracy_all_rotations", "question"),
    ]


def test_parameter_subset_reads_only_that_one(tmp_path: Path) -> None:
    for name in ("4k", "8k"):
        write(tmp_path / f"hr_bench_{name}.parquet", hr_bench_rows(1), HR_BENCH)
    assert {s.subset for s in HRBench().samples(source(tmp_path, subset="8K"))} == {"8K"}
    with pytest.raises(UserError, match="subset '2K' is none of 4K, 8K"):
        list(HRBench().samples(source(tmp_path, subset="2K")))
    with pytest.raises(UserError, match="no parameter 'subsets'; it has: subset"):
        list(HRBench().samples(source(tmp_path, subsets="8K")))


def test_file_that_says_neither_4k_nor_8k_is_refused(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    write(tmp_path / "d" / "rows.parquet", hr_bench_rows(1), HR_BENCH)
    with pytest.raises(
        UserError, match=r"rows\.parquet: cannot tell whether this is HR-Bench 4K or 8K"
    ):
        list(HRBench().samples(source(tmp_path / "d")))


def test_extra_boxes_column_becomes_ground_truth(tmp_path: Path) -> None:
    import pyarrow as pa

    rows = hr_bench_rows(1)
    for row in rows:
        row["boxes"] = [{"bbox_2d": [1.0, 2.0, 30.5, 40.0], "label": "cup"}]
    write(tmp_path / "hr_bench_4k.parquet", rows, pa.schema([*HR_BENCH, BOXES]))
    sample = next(iter(HRBench().samples(source(tmp_path))))
    assert sample.boxes == (Box((1.0, 2.0, 30.5, 40.0), "cup"),)


def test_folder_named_like_the_task_inside_data_dir_is_meant(tmp_path: Path) -> None:
    write(tmp_path / "HR-Bench" / "hr_bench_4k.parquet", hr_bench_rows(1), HR_BENCH)
    write(tmp_path / "V-Star" / "hr_bench_8k.parquet", hr_bench_rows(1), HR_BENCH)
    assert {s.subset for s in HRBench().samples(source(tmp_path))} == {"4K"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": "E"}, "answer: 'E' is not one of the options A, B, C, D"),
        ({"answer": "e"}, "answer: 'e' is not one of the options A, B, C, D"),
        ({"answer": "3"}, "answer: '3' is not one of the options A, B, C, D"),
        ({"answer": "B. blue"}, "answer: 'B. blue' is not one of the options A, B, C, D"),
        ({"answer": None}, "answer: nothing where text should be"),
        ({"question": "  "}, "question: '  ' where text should be"),
        ({"category": "double"}, "category: 'double' is none of single, cross"),
        ({"C": None}, "A, B, C, D: options A, B, D where A, B, … should be"),
        ({"index": 0}, "index: 0 is also at .*, row 0"),
        ({"index": None}, "index: nothing where a number or a name should be"),
    ],
)
def test_bad_row_is_an_error_that_names_file_row_and_field(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    rows = hr_bench_rows(1)
    rows[2] |= changes
    write(tmp_path / "hr_bench_4k.parquet", rows, HR_BENCH)
    with pytest.raises(UserError, match=rf"hr_bench_4k\.parquet, row 2, {message}"):
        list(HRBench().samples(source(tmp_path)))


def test_three_options_are_allowed(tmp_path: Path) -> None:
    rows = hr_bench_rows(1)
    for row in rows:
        row["D"], row["answer"] = None, "A"
    write(tmp_path / "hr_bench_4k.parquet", rows, HR_BENCH)
    assert list(next(iter(HRBench().samples(source(tmp_path)))).options) == ["A", "B", "C"]


@pytest.mark.parametrize("missing", ["cycle_category", "image"])
def test_missing_column_is_an_error_that_lists_both_sides(tmp_path: Path, missing: str) -> None:
    schema = HR_BENCH.remove(HR_BENCH.get_field_index(missing))
    write(tmp_path / "hr_bench_4k.parquet", hr_bench_rows(1), schema)
    with pytest.raises(
        UserError, match=rf"no column '{missing}'; HR-Bench has .*this file has index"
    ):
        list(HRBench().samples(source(tmp_path)))


def test_rows_of_another_benchmark_are_refused(tmp_path: Path) -> None:
    from tests.tasks.files import MME, mme_row

    write(tmp_path / "hr_bench_4k.parquet", [mme_row()], MME)
    with pytest.raises(UserError, match="no column 'A'"):
        list(HRBench().samples(source(tmp_path)))


def test_missing_data_names_dataset_command_and_offline_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2R_BENCH_DATA", str(tmp_path))
    for call in (
        lambda: list(HRBench().samples(DataSource())),
        lambda: HRBench().data_digest(DataSource()),
    ):
        with pytest.raises(UserError) as caught:
            call()
        for part in (
            str(tmp_path / "HR-Bench"),
            "DreamMr/HR-Bench",
            "p2r-bench data fetch HR-Bench",
            "--data-dir",
            "p2r-bench data synth",
        ):
            assert part in str(caught.value)


def test_data_dir_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--data-dir .*gone: no such folder"):
        list(HRBench().samples(source(tmp_path / "gone")))


def test_data_digest_depends_on_content_and_not_on_place(tmp_path: Path) -> None:
    rows = hr_bench_rows(1)
    for place in ("a/hr_bench_4k.parquet", "b/HR-Bench/data/hr_bench_4k.parquet"):
        write(tmp_path / place, rows, HR_BENCH)
    changed = [{**row, "question": "What colour is the cap?"} for row in rows]
    write(tmp_path / "c" / "hr_bench_4k.parquet", changed, HR_BENCH)
    write(tmp_path / "d" / "hr_bench_8k.parquet", rows, HR_BENCH)
    a, b, c, d = (HRBench().data_digest(source(tmp_path / place)) for place in "abcd")
    assert a == b
    assert len({a, c, d}) == 3
    assert a != HRBench().data_digest(source(tmp_path / "a", subset="4K"))


def test_base64_image_with_line_breaks_is_read(tmp_path: Path) -> None:
    rows = hr_bench_rows(1)
    rows[0]["image"] = base64.encodebytes(encoded(picture(9))).decode()
    write(tmp_path / "hr_bench_4k.parquet", rows, HR_BENCH)
    sample = next(iter(HRBench().samples(source(tmp_path))))
    assert read_image(sample.image) == encoded(picture(9))
