"""MME-RealWorld rows become samples, however many there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from p2r_bench.errors import UserError
from p2r_bench.store.reference import reference_rows
from p2r_bench.tasks.mme_realworld import MMERealWorld, MMERealWorldLite, reported_category
from p2r_bench.tasks.reading import read_image
from p2r_bench.types import DataSource, Sample
from tests.tasks.files import MME, encoded, mme_row, picture, write


def load(
    folder: Path, *rows: dict[str, Any], name: str = "train-00000-of-00001.parquet"
) -> list[Sample]:
    write(folder / "data" / name, rows, MME)
    return list(MMERealWorldLite().samples(DataSource(folder)))


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_row_becomes_a_sample(tmp_path: Path, suffix: str) -> None:
    (sample,) = load(tmp_path, mme_row(7), name=f"train-00000-of-00001.{suffix}")
    assert (sample.id, sample.task, sample.answer) == ("7", "MME-RealWorld-lite", "B")
    assert sample.options == {"A": "1", "B": "2", "C": "3", "D": "4", "E": "It cannot be seen."}
    assert sample.question == "How many ships are there?"
    assert sample.published_question == (
        "How many ships are there?\n(A) 1\n(B) 2\n(C) 3\n(D) 4\n(E) It cannot be seen."
    )
    assert sample.category == "Perception/Remote Sensing"
    assert sample.meta == {"l2_category": "count"}
    assert read_image(sample.image) == encoded(picture(7))


@pytest.mark.parametrize(
    ("category", "reported"),
    [
        ("Perception/OCR with Complex Context", "Perception/OCR"),
        ("Perception/Remote Sensing", "Perception/RS"),
        ("Perception/Diagram and Table", "Perception/DT"),
        ("Perception/Monitoring", "Perception/MO"),
        ("Reasoning/Autonomous_Driving", "Reasoning/AD"),
        ("reasoning/diagram_and_table", "Reasoning/DT"),
        ("Reasoning/OCR", "Reasoning/OCR"),
        ("Perception/Cooking", None),
        ("Monitoring", None),
    ],
)
def test_categories_are_reported_as_published_tables_name_them(
    category: str, reported: str | None
) -> None:
    assert reported_category(category) == reported


def test_sample_counts_overall_in_its_skill_and_in_its_domain(tmp_path: Path) -> None:
    (sample,) = load(tmp_path, mme_row(category="Reasoning/Autonomous_Driving"))
    assert MMERealWorldLite().cells(sample) == (
        (None, None),
        (None, "Reasoning"),
        (None, "Reasoning/AD"),
    )


def test_published_rows_name_cells_of_this_task(tmp_path: Path) -> None:
    categories = [
        f"{skill}/{domain}"
        for skill in ("Perception", "Reasoning")
        for domain in (
            "OCR",
            "Remote Sensing",
            "Diagram and Table",
            "Monitoring",
            "Autonomous_Driving",
        )
    ]
    samples = load(tmp_path, *(mme_row(i, category=c) for i, c in enumerate(categories)))
    cells = {cell for sample in samples for cell in MMERealWorldLite().cells(sample)}
    published = {
        (r["subset"], r["category"])
        for r in reference_rows()
        if r["task"] == "MME-RealWorld-lite" and r["source"] == "reported"
    }
    assert published <= cells


@pytest.mark.parametrize(
    ("options", "read"),
    [
        (["(A)1", "( B ) 2"], {"A": "1", "B": "2"}),
        (["A. 1", "B: 2"], {"A": "1", "B": "2"}),
        (["(B) 2", "(A) 1"], {"B": "2", "A": "1"}),
        (["A red car", "(B) 2"], {"A": "A red car", "B": "2"}),
        (["(A) ", "(B) 2"], {"A": "", "B": "2"}),
        (["(a) 1", "(b) 2"], {"A": "1", "B": "2"}),
        (["（Ａ） 1", "Ｂ．2", "Ｃ、3"], {"A": "1", "B": "2", "C": "3"}),
        (
            ["(A) one\r\n more", "(B) two\rand\nmore", "(C) three"],
            {"A": "one\r\n more", "B": "two\rand\nmore", "C": "three"},
        ),
        (
            ["(A) one", "more", "(B) two", "even", "more"],
            {"A": "one\nmore", "B": "two\neven\nmore"},
        ),
        (["A. one", "more", "B. two"], {"A": "one\nmore", "B": "two"}),
        (["A.M.", "P.M."], {"A": "A.M.", "B": "P.M."}),
        (["A.M.", "noon", "P.M.", "night"], {"A": "A.M.", "B": "noon", "C": "P.M.", "D": "night"}),
        (["yeast", "E. coli", "C. elegans"], {"A": "yeast", "B": "E. coli", "C": "C. elegans"}),
        (
            ["A. thaliana", "yeast", "C. elegans"],
            {"A": "A. thaliana", "B": "yeast", "C": "C. elegans"},
        ),
        (
            ["C. elegans", "A. mellifera", "B. mori"],
            {"A": "C. elegans", "B": "A. mellifera", "C": "B. mori"},
        ),
        (["(A) 1", "2", "(C) 3"], {"A": "1", "B": "2", "C": "3"}),
        (["1", "2", "3", "4", "5", "6"], dict(zip("ABCDEF", "123456", strict=True))),
    ],
)
def test_option_letters_are_read_from_the_strings(
    tmp_path: Path, options: list[str], read: dict[str, str]
) -> None:
    (sample,) = load(tmp_path, mme_row(**{"multi-choice options": options, "answer": "B"}))
    assert sample.options == read
    assert sample.published_question == "\n".join(["How many ships are there?", *options])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"multi-choice options": ["x", "(A) y", "(C) z"]},
            r"multi-choice options: \['x', '\(A\) y', '\(C\) z'\]: the letters are neither in order nor",
        ),
        ({"multi-choice options": ["1"] * 27}, "multi-choice options: 27 options"),
        ({"answer": "F"}, "answer: 'F' is not one of the options A, B, C, D, E"),
        (
            {"multi-choice options": ["(A) 1", "(A) 2"]},
            "multi-choice options: .*: all options have the letter A",
        ),
        (
            {"multi-choice options": ["(A) 1"]},
            "multi-choice options: .* where two or more options should be",
        ),
        ({"multi-choice options": None}, "multi-choice options: nothing where a list"),
        (
            {"multi-choice options": ["(A) 1", None]},
            "multi-choice options: nothing where an option's text",
        ),
        (
            {"category": "Perception/Cooking"},
            "category: 'Perception/Cooking' is none of Perception/OCR",
        ),
        ({"index": 0}, "index: 0 is also at .*train-00000-of-00001.parquet, row 0"),
    ],
)
def test_bad_row_is_an_error_that_names_file_row_and_field(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=rf"train-00000-of-00001\.parquet, row 1, {message}"):
        load(tmp_path, mme_row(0), mme_row(1) | changes)


def test_rows_in_several_shards_keep_their_order(tmp_path: Path) -> None:
    for number in range(11):
        write(tmp_path / f"train-{number}-of-11.parquet", [mme_row(number)], MME)
    samples = list(MMERealWorld().samples(DataSource(tmp_path)))
    assert [s.id for s in samples] == [str(number) for number in range(11)]
    assert samples[0].task == "MME-RealWorld"


def test_thirty_thousand_rows_load_without_their_images(tmp_path: Path) -> None:
    code = """
import sys
import pyarrow as pa, pyarrow.parquet as pq
from pathlib import Path
from tests.tasks.files import MME, mme_row
from tests.tasks.memory import peak
folder, rows, row = Path(sys.argv[1]), 30_000, mme_row(0) | {"bytes": "QUJD" * 2048}
with pq.ParquetWriter(folder / "train.parquet", MME, use_dictionary=False, compression="none") as writer:
    for start in range(0, rows, 500):
        batch = [row | {"index": i} for i in range(start, start + 500)]
        writer.write_table(pa.Table.from_pylist(batch, schema=MME))
from p2r_bench.tasks.mme_realworld import MMERealWorld
from p2r_bench.tasks.reading import read_image
from p2r_bench.types import DataSource
samples = list(MMERealWorld().samples(DataSource(folder)))
assert len(samples) == rows and len({s.id for s in samples}) == rows
assert len(read_image(samples[-1].image)) == 3 * 2048
print(peak())
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    )
    size = (tmp_path / "train.parquet").stat().st_size >> 20
    assert int(done.stdout) < size < 1000, f"MiB of memory for a file of {size}"
