"""V* in its published forms: rows, files, and both joined by image."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from p2r_bench.errors import UserError
from p2r_bench.tasks.reading import read_image
from p2r_bench.tasks.vstar import VStar
from p2r_bench.types import Box, DataSource, Sample
from tests.tasks.files import VSTAR, encoded, picture, vstar_folder, vstar_row, vstar_text, write

ROWS = "vstar-bench/data/test-00000-of-00001.parquet"
FILES = "vstar_bench"
MUG = Box((250.0, 250.0, 750.0, 375.0), "mug")
"""x, y, w, h = 16, 12, 32, 6 pixels of 64×48."""


def load(folder: Path, **params: Any) -> list[Sample]:
    return list(VStar().samples(DataSource(folder, params=params)))


def with_files(folder: Path, count: int = 4, **changes: Any) -> Path:
    vstar_folder(folder / FILES, count, **changes)
    return folder


@pytest.mark.parametrize("name", [ROWS, "vstar-bench-test.arrow"])
def test_rows_become_samples(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, [vstar_row(0), vstar_row(1)], VSTAR)
    first, second = load(tmp_path)
    assert (first.id, second.id) == ("direct_attributes/0", "relative_position/1")
    assert first.question == "What is the colour of the mug?"
    assert first.options == {"A": "red", "B": "blue"}
    assert first.answer == "B"
    assert first.published_question == "What is the colour of the mug?\n(A) red\n(B) blue"
    assert first.boxes is None
    assert read_image(second.image) == encoded(picture(1), "JPEG")


@pytest.mark.parametrize(
    "text",
    [
        "Is it left? \n(A) It is on the left.\n(B) right (far)\nAnswer with the option's letter from the given choices directly.",
        "Is it left? (A) It is on the left. (B) right (far)\nPlease answer with the letter of the option.",
        "Is it left?\n(A) It is on the left.\n(B) right (far)\n\nSelect the best choice.\n",
        "Is it left?(A) It is on the left. (B) right (far) Answer with the option's letter directly.",
        "Is it left?\n(A) It is on the left.\n(B) right (far)",
    ],
)
def test_options_are_parsed_and_the_instruction_is_stripped(tmp_path: Path, text: str) -> None:
    write(tmp_path / ROWS, [vstar_row(text=text)], VSTAR)
    (sample,) = load(tmp_path)
    assert sample.question == "Is it left?"
    assert sample.options == {"A": "It is on the left.", "B": "right (far)"}
    assert (sample.published_question or "").endswith("(B) right (far)")


def test_sample_counts_overall_and_in_its_category(tmp_path: Path) -> None:
    write(tmp_path / ROWS, [vstar_row(n) for n in range(5)], VSTAR)
    cells = Counter(cell for sample in load(tmp_path) for cell in VStar().cells(sample))
    assert cells == {
        (None, None): 5,
        (None, "direct_attributes"): 3,
        (None, "relative_position"): 2,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "C"}, "label: 'C' is not one of the options A, B"),
        ({"text": "What is it?"}, "text: 'What is it\\?' does not end in options"),
        ({"text": "What? (A) a (C) c"}, "text: .* does not end in options"),
        ({"category": "OCR"}, "category: 'OCR' is none of direct_attributes, relative_position"),
        (
            {"question_id": "0", "category": "direct_attributes"},
            "question_id: '0' is also at .*, row 0",
        ),
    ],
)
def test_bad_row_is_an_error_that_names_file_row_and_field(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write(tmp_path / ROWS, [vstar_row(0), vstar_row(1) | changes], VSTAR)
    with pytest.raises(UserError, match=rf"test-00000-of-00001\.parquet, row 1, {message}"):
        load(tmp_path)


def test_files_alone_give_boxes_in_thousandths(tmp_path: Path) -> None:
    samples = load(with_files(tmp_path))
    assert [s.id for s in samples] == [
        "direct_attributes/sa_0",
        "direct_attributes/sa_2",
        "relative_position/sa_1",
        "relative_position/sa_3",
    ]
    assert all(sample.boxes == (MUG,) for sample in samples)
    assert read_image(samples[0].image) == encoded(picture(0), "JPEG")


def test_files_alone_have_options_in_a_seeded_order(tmp_path: Path) -> None:
    with_files(tmp_path, 40)
    samples = load(tmp_path)
    assert samples == load(tmp_path)
    for sample in samples:
        assert sample.options[sample.answer] == "blue", "the first option listed is right"
        assert sorted(sample.options.values()) == ["blue", "green", "red", "white"]
    assert {sample.answer for sample in samples} == {"A", "B", "C", "D"}
    other = load(tmp_path, option_seed=1)
    assert [s.answer for s in other] != [s.answer for s in samples]
    digests = {
        VStar().data_digest(DataSource(tmp_path, params=p)) for p in ({}, {"option_seed": 1})
    }
    assert len(digests) == 2


def test_question_lines_beside_the_files_give_the_published_order(tmp_path: Path) -> None:
    with_files(tmp_path)
    lines = [
        {
            "image": f"{category}/sa_{n}.jpg",
            "text": vstar_text(options=["red", "white", "blue", "green"]),
            "category": category,
            "label": "C",
            "question_id": str(n),
        }
        for n, category in enumerate(["direct_attributes", "relative_position"] * 2)
    ]
    (tmp_path / FILES / "test_questions.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    samples = load(tmp_path)
    assert [s.id for s in samples] == [
        f"{line['category']}/{line['question_id']}" for line in lines
    ]
    assert {(s.answer, s.options["C"], s.boxes) for s in samples} == {("C", "blue", (MUG,))}


@pytest.mark.parametrize("copy", ["same bytes", "encoded anew"])
def test_rows_joined_to_files_by_image_get_boxes(tmp_path: Path, copy: str) -> None:
    rows = [vstar_row(n) for n in (3, 1, 0, 2)]
    with_files(tmp_path)
    if copy == "encoded anew":
        from io import BytesIO

        from PIL import Image

        for row in rows:
            row["image"]["bytes"] = encoded(Image.open(BytesIO(row["image"]["bytes"])), "PNG")
    write(tmp_path / ROWS, rows, VSTAR)
    annotation = tmp_path / FILES / "relative_position" / "sa_3.json"
    annotation.write_text(annotation.read_text().replace("[16, 12, 32, 6]", "[0, 0, 64, 48]"))
    samples = {sample.id: sample for sample in load(tmp_path)}
    assert samples["relative_position/3"].boxes == (Box((0, 0, 1000, 1000), "mug"),)
    assert samples["relative_position/1"].boxes == (MUG,)
    assert samples["direct_attributes/0"].options == {"A": "red", "B": "blue"}


def test_same_image_in_both_categories_is_joined_within_each(tmp_path: Path) -> None:
    with_files(tmp_path, 2)
    shutil.copy(
        tmp_path / FILES / "direct_attributes" / "sa_0.jpg",
        tmp_path / FILES / "relative_position" / "sa_1.jpg",
    )
    write(tmp_path / ROWS, [vstar_row(0), vstar_row(0) | {"category": "relative_position"}], VSTAR)
    assert [sample.boxes for sample in load(tmp_path)] == [(MUG,), (MUG,)]


@pytest.mark.parametrize("rows", [[0, 1, 2], [0, 1, 2, 3, 4], [0, 1, 2, 5]])
def test_join_that_is_not_complete_is_refused(tmp_path: Path, rows: list[int]) -> None:
    with_files(tmp_path)
    write(tmp_path / ROWS, [vstar_row(n) for n in rows], VSTAR)
    with pytest.raises(
        UserError, match=rf"only [34] of {len(rows)} rows and 4 annotation files match"
    ):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"bbox": [[1, 2, 3]]},
            r"sa_0\.json, bbox: \[1, 2, 3\] where x, y, width, height should be",
        ),
        ({"bbox": [[1, 2, 0, 3]]}, "bbox: .* has no area"),
        ({"bbox": [[64, 0, 5, 5]]}, "bbox: .* lies outside the image of 64×48 pixels"),
        ({"bbox": []}, "bbox: not one box per target_object"),
        ({"options": ["blue"]}, "options: .* two or more"),
        ({"question": ""}, "question: '' where text should be"),
        ({"target_object": None}, "target_object: nothing where a list of texts should be"),
    ],
)
def test_bad_annotation_is_an_error_that_names_file_and_field(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load(with_files(tmp_path, 1, **changes))


def test_annotation_without_its_image_is_an_error(tmp_path: Path) -> None:
    with_files(tmp_path, 1)
    (tmp_path / FILES / "direct_attributes" / "sa_0.jpg").unlink()
    with pytest.raises(UserError, match=r"sa_0\.json: no image sa_0\.jpg"):
        load(tmp_path)


def test_missing_data_names_both_datasets(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path)
    for part in (
        "lmms-lab/vstar-bench",
        "craigwu/vstar_bench",
        "data fetch V-Star",
        "--format vstar",
    ):
        assert part in str(caught.value)


def test_data_digest_sees_rows_and_annotations(tmp_path: Path) -> None:
    write(tmp_path / ROWS, [vstar_row(n) for n in range(4)], VSTAR)
    digests = [VStar().data_digest(DataSource(tmp_path))]
    with_files(tmp_path)
    digests.append(VStar().data_digest(DataSource(tmp_path)))
    annotation = tmp_path / FILES / "relative_position" / "sa_3.json"
    annotation.write_text(annotation.read_text().replace("[16, 12, 32, 6]", "[17, 12, 32, 6]"))
    digests.append(VStar().data_digest(DataSource(tmp_path)))
    assert len(set(digests)) == 3
