"""All bad rows are listed, not only the first, and on request they are left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from p2r_bench.errors import UserError
from p2r_bench.tasks.bad_rows import load_rows
from p2r_bench.tasks.benchmark import Benchmark
from p2r_bench.tasks.hr_bench import HRBench
from p2r_bench.tasks.mme_realworld import MMERealWorld
from p2r_bench.tasks.vstar import VStar
from p2r_bench.types import DataSource
from tests.tasks.files import (
    HR_BENCH,
    MME,
    VSTAR,
    arrow_stream,
    hr_bench_rows,
    mme_row,
    vstar_folder,
    vstar_row,
    vstar_text,
    write,
)
from tests.tasks.test_kind import Plain


def refused(task: Benchmark, folder: Path) -> str:
    """The message of a run's refusal, which is that of `samples` as well."""
    with pytest.raises(UserError) as caught:
        load_rows(task, DataSource(folder))
    with pytest.raises(UserError) as streamed:
        list(task.samples(DataSource(folder)))
    assert str(streamed.value) == str(caught.value)
    return str(caught.value)


def mme(folder: Path, count: int, *bad: int) -> Path:
    rows = [mme_row(n, **({"answer": "Z"} if n in bad else {})) for n in range(count)]
    write(folder / "train.parquet", rows, MME)
    return folder


def test_every_bad_row_is_listed_with_the_ways_out(tmp_path: Path) -> None:
    message = refused(MMERealWorld(), mme(tmp_path, 6, 1, 4))
    lines = message.splitlines()
    assert lines[0] == "MME-RealWorld: 2 bad rows:"
    assert "train.parquet, row 1, answer: 'Z'" in lines[1]
    assert "train.parquet, row 4, answer: 'Z'" in lines[2]
    assert "--on-bad-row skip" in lines[-1]


def test_a_long_list_ends_with_its_count_and_the_command_that_prints_all(tmp_path: Path) -> None:
    message = refused(MMERealWorld(), mme(tmp_path, 40, *range(5, 35)))
    assert message.count("'Z'") == 20 and message.startswith("MME-RealWorld: 30 bad rows:")
    assert f"  and 10 more: p2r-bench data check MME-RealWorld --data-dir {tmp_path}\n" in message


def test_bad_rows_are_left_out_on_request(tmp_path: Path) -> None:
    samples, bad = load_rows(MMERealWorld(), DataSource(mme(tmp_path, 5, 0, 3)), skip_bad=True)
    assert [sample.id for sample in samples] == ["1", "2", "4"]
    assert ["row 0" in str(bad[0]), "row 3" in str(bad[1]), len(bad)] == [True, True, 2]
    with pytest.raises(UserError, match="2 bad rows"):
        load_rows(MMERealWorld(), DataSource(mme(tmp_path, 2, 0, 1)), skip_bad=True)


def test_a_damaged_file_joins_the_list_and_is_never_skipped(tmp_path: Path) -> None:
    mme(tmp_path, 3, 1)
    (tmp_path / "z.parquet").write_text("PAR1")
    message = refused(MMERealWorld(), tmp_path)
    assert message.startswith("MME-RealWorld: 2 bad rows:") and "z.parquet: not" in message
    with pytest.raises(UserError, match=r"z\.parquet: not a readable parquet file"):
        load_rows(MMERealWorld(), DataSource(tmp_path), skip_bad=True)


def test_a_task_that_cannot_scan_stops_at_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def samples(self: Plain, source: DataSource) -> Any:
        raise UserError("row 3 is bad")

    monkeypatch.setattr(Plain, "samples", samples)
    with pytest.raises(UserError, match=r"^row 3 is bad$"):
        load_rows(Plain(), DataSource())
    with pytest.raises(UserError, match="row 3 is bad\nThe task plain has no method `scan`"):
        load_rows(Plain(), DataSource(), skip_bad=True)


def questions(folder: Path, *lines: str | bytes) -> Path:
    good = [
        json.dumps(
            {
                "image": f"{category}/sa_{n}.jpg",
                "text": vstar_text(),
                "category": category,
                "label": "B",
                "question_id": str(n),
            }
        )
        for n, category in enumerate(["direct_attributes", "relative_position"])
    ]
    vstar_folder(folder, 2 + len(lines))
    written = [line.encode() if isinstance(line, str) else line for line in (*good, *lines)]
    (folder / "test_questions.jsonl").write_bytes(b"\n".join(written))
    return folder


def test_lines_that_are_not_json_do_not_hide_each_other(tmp_path: Path) -> None:
    folder = questions(tmp_path, "{", '["a list"]', b'{"text": "\xff"}', '{"text": "no image"}')
    message = refused(VStar(), folder)
    assert message.startswith("V-Star: 4 bad rows:")
    for row, problem in [
        (2, "not a JSON object"),
        (3, "not an object"),
        (4, "utf-8"),
        (5, "image: "),
    ]:
        assert any(f"row {row}" in line and problem in line for line in message.splitlines())
    samples, bad = load_rows(VStar(), DataSource(folder), skip_bad=True)
    assert [sample.id for sample in samples] == ["direct_attributes/0", "relative_position/1"]
    assert all(sample.boxes for sample in samples) and len(bad) == 4


def test_annotations_that_are_not_json_do_not_hide_each_other(tmp_path: Path) -> None:
    write(tmp_path / "rows" / "test.parquet", [vstar_row(n) for n in range(4)], VSTAR)
    folder = vstar_folder(tmp_path / "files")
    (folder / "direct_attributes" / "sa_0.json").write_text("{")
    (folder / "relative_position" / "sa_3.json").write_bytes(b"\xff")
    message = refused(VStar(), tmp_path)
    assert message.startswith("V-Star: 2 bad rows:")
    assert "sa_0.json: cannot be read" in message and "sa_3.json: cannot be read" in message
    samples, bad = load_rows(VStar(), DataSource(tmp_path), skip_bad=True)
    assert [sample.id for sample in samples] == ["relative_position/1", "direct_attributes/2"]
    assert len(bad) == 2


def test_a_row_and_its_annotation_may_both_be_bad(tmp_path: Path) -> None:
    rows = [vstar_row(n, **({"label": "F"} if n == 0 else {})) for n in range(4)]
    write(tmp_path / "rows" / "test.parquet", rows, VSTAR)
    vstar_folder(tmp_path / "files")
    (tmp_path / "files" / "direct_attributes" / "sa_0.json").write_text("{")
    samples, bad = load_rows(VStar(), DataSource(tmp_path), skip_bad=True)
    assert len(samples) == 3 and len(bad) == 2
    assert all(sample.boxes for sample in samples)


def hr_bench(folder: Path, **changes: Any) -> Path:
    rows = hr_bench_rows(1)
    rows[1] |= changes
    write(folder / "hr_bench_4k.parquet", rows, HR_BENCH)
    return folder


@pytest.mark.parametrize("answer", ["b", "(B)", " B  ", "B.", "Ｂ", "(b) green", "B: green"])
def test_an_answer_is_a_letter_however_it_is_written(tmp_path: Path, answer: str) -> None:
    rows = hr_bench_rows(1)
    rows[0]["answer"] = answer
    write(tmp_path / "hr_bench_4k.parquet", rows, HR_BENCH)
    assert next(iter(HRBench().samples(DataSource(tmp_path)))).answer == "B"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"answer": "E"}, "answer"),
        ({"answer": ""}, "answer"),
        ({"answer": "AB"}, "answer"),
        ({"question": None}, "question"),
        ({"A": None}, "A, B, C, D"),
        ({"category": "cross-ish"}, "category"),
        ({"index": None}, "index"),
        ({"index": 0}, "index"),
        ({"cycle_category": None}, "cycle_category"),
    ],
)
def test_an_odd_row_is_named_by_file_row_and_field(
    tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    message = refused(HRBench(), hr_bench(tmp_path, **changes))
    assert f"hr_bench_4k.parquet, row 1, {field}: " in message.splitlines()[1]
    assert message.startswith("HR-Bench: 1 bad row:")


def test_text_that_is_not_utf_8_is_a_bad_row(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(hr_bench_rows(1), schema=HR_BENCH)
    texts = pa.array([b"good", b"\xff\xfe", b"good", b"good"]).view(pa.string())
    place = table.schema.get_field_index("question")
    arrow_stream(tmp_path / "hr_bench_4k.arrow", table.set_column(place, "question", texts))
    message = refused(HRBench(), tmp_path)
    assert "row 1, question: <text that is not UTF-8>" in message
    assert message.startswith("HR-Bench: 1 bad row:")
