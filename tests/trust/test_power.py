"""`power`: the figures for published datasets, and for data of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2r_bench.testing import write_bench
from tests.trust.runs import invoke, json_of


@pytest.mark.parametrize(
    ("task", "points"), [("V-Star", 6.4), ("HR-Bench", 6.3), ("MME-RealWorld-lite", 2.3)]
)
def test_published_datasets_need_no_data(task: str, points: float) -> None:
    found = json_of("power", task, "--discordance", 10)
    assert [100 * row["detectable"] for row in found] == pytest.approx(
        [points] * len(found), abs=0.05
    )


def test_the_images_needed_have_the_power_that_is_asked_for() -> None:
    (row,) = json_of("power", "V-Star", "--effect", 3, "--discordance", 10)
    (there,) = json_of(
        "power", "V-Star", "--effect", 3, "--discordance", 10, "--images", row["images_needed"]
    )
    assert row["power"] < 0.3
    assert there["power"] == pytest.approx(0.8, abs=0.002)


def test_questions_of_data_are_counted_not_rows(tmp_path: Path) -> None:
    found = json_of("power", "HR-Bench", "--data-dir", write_bench(tmp_path / "d", questions=5))
    assert {row["images"] for row in found} == {5}


def test_an_effect_above_the_discordance_does_not_exist() -> None:
    (row,) = json_of("power", "V-Star", "--effect", 3, "--discordance", 2)
    assert (row["power"], row["images_needed"]) == (None, None)


def test_a_task_whose_size_is_not_known_asks_for_it(tmp_path: Path) -> None:
    done = invoke("power", "MME-RealWorld", "--data-dir", tmp_path)
    assert done.exit_code == 2 and "--images N" in done.output
