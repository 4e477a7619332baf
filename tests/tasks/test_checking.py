"""`data check` finds what would go wrong in a run, and all of it at once."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from p2r_bench.cli import main
from p2r_bench.tasks.checking import Report, check
from p2r_bench.tasks.hr_bench import HRBench
from p2r_bench.tasks.location import Origin
from p2r_bench.tasks.mme_realworld import MMERealWorld
from p2r_bench.tasks.vstar import VStar
from p2r_bench.types import DataSource
from tests.tasks.files import (
    HR_BENCH,
    MME,
    VSTAR,
    encoded,
    hr_bench_rows,
    mme_row,
    picture,
    vstar_row,
    write,
)


def hr_bench(
    folder: Path, rows: list[dict[str, Any]], *, real: bool = False, **options: Any
) -> Report:
    write(folder / "hr_bench_4k.parquet", rows, HR_BENCH)
    if not real:
        Origin("HR-Bench", {}, synthetic=True).write(folder)
    return check(HRBench(), DataSource(folder), **options)


def kinds(report: Report) -> list[str]:
    return [finding.kind for finding in report.findings]


def with_image(row: dict[str, Any], data: bytes) -> dict[str, Any]:
    return row | {"image": base64.b64encode(data).decode()}


def test_sound_data_has_no_findings(tmp_path: Path) -> None:
    ticks: list[int] = []
    report = hr_bench(tmp_path, hr_bench_rows(2), tick=lambda: ticks.append(1))
    assert report.findings == []
    assert report.rows == {("4K", None): 8, ("4K", "single"): 4, ("4K", "cross"): 4}
    assert report.columns == {"4K/hr_bench_4k.parquet": HR_BENCH.names}
    assert report.images == len(ticks) == 8


def test_counts_are_held_against_the_published_ones(tmp_path: Path) -> None:
    report = hr_bench(tmp_path, hr_bench_rows(2), real=True)
    assert [f.problem for f in report.findings] == ["4K: 8 rows, published are 800"]
    write(tmp_path / "v" / "test.parquet", [vstar_row(0)], VSTAR)
    problems = [f.problem for f in check(VStar(), DataSource(tmp_path / "v")).findings]
    assert problems == [
        "all: 1 row, published are 191",
        "direct_attributes: 1 row, published are 115",
        "relative_position: 0 rows, published are 76",
    ]


def test_every_bad_row_is_reported(tmp_path: Path) -> None:
    rows = hr_bench_rows(2)
    rows[1]["answer"], rows[6]["category"] = "E", "both"
    report = hr_bench(tmp_path, rows)
    assert kinds(report) == ["row", "row", "rotations", "rotations"]
    assert "row 1, answer" in report.findings[0].problem
    assert "row 6, category" in report.findings[1].problem


def test_missing_rotation_is_reported(tmp_path: Path) -> None:
    report = hr_bench(tmp_path, hr_bench_rows(2)[:-1])
    (finding,) = report.findings
    assert (finding.kind, finding.sample_id) == ("rotations", "4K/4")
    assert finding.problem == "only 3 of 4 rotations of its options are here"


def test_unreadable_images_are_reported_by_row(tmp_path: Path) -> None:
    rows = hr_bench_rows(2)
    whole = encoded(picture(5, (300, 200)), "JPEG", quality=95)
    rows[1] = with_image(rows[1], b"no image")
    rows[3] = with_image(rows[3], whole[: len(whole) // 2])
    rows[5] = rows[5] | {"image": None}
    report = hr_bench(tmp_path, rows)
    found = {finding.sample_id: finding.problem for finding in report.findings}
    assert set(kinds(report)) == {"image", "rotations"}
    assert "row 1, image: not a readable image" in found["4K/1"]
    assert "row 3, image: the image cannot be read: image file is truncated" in found["4K/3"]
    assert "row 5, image: there is no image" in found["4K/5"]


def test_headers_alone_do_not_show_truncation(tmp_path: Path) -> None:
    rows = hr_bench_rows(1)
    whole = encoded(picture(5, (300, 200)), "JPEG", quality=95)
    rows[3] = with_image(rows[3], whole[: len(whole) // 2])
    report = hr_bench(tmp_path, rows, decode=False)
    assert "image" not in kinds(report)


def test_impossible_aspect_ratio_is_reported_by_row(tmp_path: Path) -> None:
    rows = hr_bench_rows(1)
    rows[0] = with_image(rows[0], encoded(picture(0, (800, 4))))
    rows[2] = with_image(rows[2], encoded(picture(0, (4, 804))))
    (finding,) = (f for f in hr_bench(tmp_path, rows).findings if f.kind == "aspect")
    assert (finding.kind, finding.sample_id) == ("aspect", "4K/2")
    assert "row 2, image: 4×804 pixels: longer than 200:1" in finding.problem


def test_damaged_file_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "hr_bench_8k.parquet").write_bytes(b"PAR1")
    report = hr_bench(tmp_path, hr_bench_rows(1))
    assert kinds(report) == ["file"]
    assert "hr_bench_8k.parquet: not a readable parquet file" in report.findings[0].problem


def test_command_exits_with_one_on_findings(tmp_path: Path) -> None:
    write(tmp_path / "hr_bench_4k.parquet", hr_bench_rows(1), HR_BENCH)
    command = ["data", "check", "HR-Bench", "--data-dir", str(tmp_path)]
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 1
    assert "count: 4K: 4 rows, published are 800" in shown.output
    as_json = CliRunner().invoke(main, [*command, "--json", "--headers"])
    assert as_json.exit_code == 1
    report = json.loads(as_json.output)
    assert report["rows"][0] == {"subset": "4K", "category": None, "rows": 4, "expected": 800}
    assert report["findings"][0]["kind"] == "count"
    assert report["images"] == {"read": 4, "decoded": False}


def test_command_without_data_exits_with_two_and_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2R_BENCH_DATA", str(tmp_path))
    shown = CliRunner().invoke(main, ["data", "check", "V-Star"])
    assert shown.exit_code == 2
    assert "p2r-bench data fetch V-Star" in shown.output


def test_odd_options_are_findings(tmp_path: Path) -> None:
    stored = {
        0: ["(A) 1", "(B) ", "(C) nan", "(D) 1"],
        1: ["(A) 1", "(B) 2", "(B) 3"],
        2: ["(A) None", "(B) A", "(C) ELEVATE", "(D) ELEVATE."],
    }
    rows = [
        mme_row(n, **{"multi-choice options": options, "answer": "A"})
        for n, options in stored.items()
    ]
    write(tmp_path / "train.parquet", rows, MME)
    found = [f for f in check(MMERealWorld(), DataSource(tmp_path)).findings if f.kind == "options"]
    assert [(f.sample_id, f.problem) for f in found] == [
        ("0", "options A and D are equal: '1'"),
        ("0", "option B has no text"),
        ("0", "option C is 'nan', which is how tools write an empty field"),
        ("1", "several options have the letter B; an answer B stands for all of them"),
    ]


def test_a_lite_copy_in_the_full_set_s_place_is_a_finding(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [mme_row()], MME)
    report = check(MMERealWorld(), DataSource(tmp_path))
    assert [f.problem for f in report.findings] == ["all: 1 row, published are 23,609"]
    done = CliRunner().invoke(main, ["data", "check", "MME-RealWorld", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "kind of data: partial (1 row, published are 23,609)\nchance level 20.0 %" in done.output


@pytest.mark.parametrize("fault", ["no rows", "no column", "every row"])
def test_data_without_readable_rows_is_never_published(tmp_path: Path, fault: str) -> None:
    rows, schema = hr_bench_rows(1), HR_BENCH
    if fault == "no rows":
        rows = []
    elif fault == "no column":
        schema = schema.remove(schema.get_field_index("answer"))
    else:
        rows = [row | {"answer": str(n)} for n, row in enumerate(rows)]
    write(tmp_path / "hr_bench_4k.parquet", rows, schema)
    done = CliRunner().invoke(main, ["data", "check", "HR-Bench", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "kind of data: unknown (no row can be read)\n" in done.output
    assert "subset  category" not in done.output


def test_a_file_that_cannot_be_read_beside_a_whole_one_makes_the_data_partial(
    tmp_path: Path,
) -> None:
    faulty = [row | {"answer": "E"} for row in hr_bench_rows(1)]
    write(tmp_path / "hr_bench_8k.parquet", faulty, HR_BENCH)
    report = hr_bench(tmp_path, hr_bench_rows(200), real=True, decode=False)
    assert (report.facts.kind, report.facts.note) == ("partial", "not every row can be read")


def test_a_placeholder_in_the_question_is_a_finding(tmp_path: Path) -> None:
    rows = [row | {"question": f"<image>\n{row['question']}"} for row in hr_bench_rows(1)]
    (finding,) = hr_bench(tmp_path, rows).findings
    assert (finding.kind, finding.sample_id) == ("question", "4K/0")
    assert finding.problem.startswith("question holds the placeholder <image>; ")
    assert "Remove it from the data (4 rows)" in finding.problem


def test_options_stored_with_their_letters_are_a_finding(tmp_path: Path) -> None:
    rows = [
        row | {letter: f"{letter}. {row[letter]}" for letter in "ABCD"} for row in hr_bench_rows(1)
    ]
    (finding,) = hr_bench(tmp_path, rows).findings
    assert (finding.kind, finding.sample_id) == ("options", "4K/0")
    assert "stored with their letters ('A. red' under A)" in finding.problem
    assert "Remove the letters from the data (4 rows)" in finding.problem


def test_one_finding_is_counted_in_the_singular(tmp_path: Path) -> None:
    write(tmp_path / "hr_bench_4k.parquet", hr_bench_rows(2)[:1], HR_BENCH)
    done = CliRunner().invoke(main, ["data", "check", "HR-Bench", "--data-dir", str(tmp_path)])
    assert "count: 4K: 1 row, published are 800" in done.output
    assert "\n1 image decoded\n" in done.output
    assert "partial (1 row of 4K, published are 800)" in done.output
    source = DataSource(tmp_path)
    facts = HRBench().data_facts(source, list(HRBench().samples(source)))
    reason = facts.unavailable["accuracy_all_rotations"]["4K", None]
    assert reason.startswith("1 row lacks rotations")
