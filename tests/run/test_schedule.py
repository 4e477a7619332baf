"""The order in which rows are begun."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from p2r_bench.run.images.prefetch import Work
from p2r_bench.run.schedule.order import near_each_other
from p2r_bench.types import ImageRef, Sample


def work(index: int, image: ImageRef, question_id: str | None = None) -> Work:
    return Work(index, Sample(str(index), "t", image, "What?", "A", question_id=question_id))


def order(todo: Sequence[Work]) -> list[int]:
    return [one.index for one in near_each_other(todo)]


def test_rotations_that_the_file_keeps_apart_run_next_to_each_other() -> None:
    rows = [
        work(i, ImageRef(path="a.parquet", row=i, column="image"), f"q{i % 3}") for i in range(9)
    ]
    assert order(rows) == [0, 3, 6, 1, 4, 7, 2, 5, 8]


@pytest.mark.parametrize(
    "images",
    [
        [ImageRef(path="x.jpg"), ImageRef(path="y.jpg")],
        [ImageRef(data=b"x"), ImageRef(data=b"y")],
        [ImageRef(path="a", row=0, digest="x"), ImageRef(path="a", row=1, digest="y")],
    ],
    ids=["file", "memory", "digest"],
)
def test_questions_about_the_same_image_run_next_to_each_other(images: list[ImageRef]) -> None:
    assert order([work(i, images[i % 2]) for i in range(6)]) == [0, 2, 4, 1, 3, 5]


def test_rows_of_a_file_whose_images_are_not_known_keep_their_order() -> None:
    rows = [work(i, ImageRef(path="a.parquet", row=i % 5, column="bytes")) for i in range(5)]
    assert order(rows) == [0, 1, 2, 3, 4]
