"""Rotations of one question are found in any order of the rows, or not at all; never are two questions mixed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from p2r_bench.errors import ImageError
from p2r_bench.tasks.hr_bench import HRBench
from p2r_bench.tasks.rotations import open_questions, rotations_numbered
from p2r_bench.types import DataSource, ImageRef, Sample
from tests.tasks.files import HR_BENCH, hr_bench_rows, write

MANY = [0, 1, 1, 2, 1, *range(3, 18)]
"""Twenty questions, three of them alike."""
TEXTS = ("red", "green", "blue", "white")


def rows(kinds: Sequence[int]) -> list[Sample]:
    """Four rotations per question in the published order; questions of the same kind are twins with own images."""
    samples = []
    for number, kind in enumerate(kinds):
        for cycle in range(4):
            turned = TEXTS[cycle:] + TEXTS[:cycle]
            samples.append(
                Sample(
                    id=f"4K/{4 * number + cycle}",
                    task="HR-Bench",
                    image=ImageRef(data=str(number).encode()),
                    question=f"Question {kind}?",
                    options=dict(zip("ABCD", turned, strict=True)),
                    answer="ABCD"[turned.index("red")],
                    category="single",
                    meta={"cycle_category": str(cycle)},
                )
            )
    return samples


def renumbered(samples: Sequence[Sample]) -> list[Sample]:
    return [replace(sample, id=f"4K/{place}") for place, sample in enumerate(samples)]


def paired(samples: Sequence[Sample], **options: object) -> list[Sample]:
    return [s for s in rotations_numbered(samples, **options) if isinstance(s, Sample)]  # type: ignore[arg-type]


def questions(samples: Sequence[Sample]) -> list[set[bytes | None]]:
    """The true questions (their images) behind each question that was found."""
    found = defaultdict(set)
    for sample in samples:
        if sample.question_id is not None:
            found[sample.question_id].add(sample.image.data)
    return list(found.values())


def unreadable(ref: ImageRef) -> Hashable:
    raise ImageError("not read")


def test_index_order_decides_and_no_image_is_read() -> None:
    samples = paired(rows(MANY), identity=unreadable)
    assert [s.question_id for s in samples] == [f"4K/{n // 4 * 4}" for n in range(80)]
    assert [s.rotation for s in samples] == [0, 1, 2, 3] * 20
    assert open_questions(samples) == {}


@pytest.mark.parametrize("first", [1, 101])
def test_the_first_index_need_not_be_zero(first: int) -> None:
    given = [replace(s, id=f"4K/{first + n}") for n, s in enumerate(rows(MANY))]
    samples = paired(given, identity=unreadable)
    assert [s.question_id for s in samples] == [f"4K/{first + n // 4 * 4}" for n in range(80)]


def test_images_that_differ_in_every_row_say_nothing_against_the_order() -> None:
    given = [replace(s, image=ImageRef(data=s.id.encode())) for s in rows([0, 1])]
    assert len({s.question_id for s in paired(given)}) == 2
    assert len(open_questions(paired(given[:7]))) == 7


def test_rows_in_another_order_that_keep_their_index_pair_by_index() -> None:
    samples = paired(rows(MANY)[::-1], identity=unreadable)
    assert len(questions(samples)) == 20 and all(len(q) == 1 for q in questions(samples))


@pytest.mark.parametrize("kinds", [[0], [0] * 20], ids=["few", "twins"])
def test_an_order_that_may_be_an_accident_is_checked_by_image(kinds: list[int]) -> None:
    assert open_questions(paired(rows(kinds))) == {}
    assert len(open_questions(paired(rows(kinds), identity=unreadable))) == 4 * len(kinds)


def test_renumbered_rows_pair_by_content_and_twins_by_image() -> None:
    samples = paired(renumbered(sorted(rows([0, 1, 1]), key=lambda s: str(s.meta))))
    assert sorted(questions(samples), key=str) == [{b"0"}, {b"1"}, {b"2"}]
    assert open_questions(samples) == {}


def test_twins_whose_images_do_not_help_stay_open() -> None:
    shuffled = renumbered(sorted(rows([0, 1, 1]), key=lambda s: str(s.meta)))
    samples = paired(shuffled, identity=lambda ref: "one and the same")
    reasons = open_questions(samples)
    assert {s.image.data for s in samples if s.id in reasons} == {b"1", b"2"}
    assert {s.question_id for s in samples if s.id in reasons} == {None}
    assert len(open_questions(paired(shuffled, identity=unreadable))) == 12


def test_a_missing_row_leaves_its_question_open_and_no_other() -> None:
    given = rows([0, 1, 1, 2, 3])
    del given[5]
    reasons = open_questions(paired(given))
    assert list(reasons) == ["4K/4", "4K/6", "4K/7"]
    assert reasons["4K/4"] == "only 3 of 4 rotations of its options are here"


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=4).flatmap(
        lambda kinds: st.tuples(
            st.permutations(rows(kinds)), st.sets(st.integers(0, 4 * len(kinds) - 1)), st.booleans()
        )
    )
)
def test_two_questions_are_never_mixed(case: tuple[list[Sample], set[int], bool]) -> None:
    shuffled, lost, keep_index = case
    shared = [s.image.data for place, s in enumerate(shuffled) if place not in lost]
    assume(len(set(shared)) < len(shared))  # else nothing but the index tells questions apart
    left = [sample for place, sample in enumerate(shuffled) if place not in lost]
    samples = paired(left if keep_index else renumbered(left))
    assert len(samples) == len(left)
    assert all(len(images) == 1 for images in questions(samples))
    if not lost:
        assert open_questions(samples) == {}


def test_the_metric_has_no_value_where_the_rotations_are_not_known(tmp_path: Path) -> None:
    data = hr_bench_rows(2)
    del data[6]
    write(tmp_path / "hr_bench_4k.parquet", data, HR_BENCH)
    source = DataSource(tmp_path)
    facts = HRBench().data_facts(source, list(HRBench().samples(source)))
    reason = (
        "3 rows lack rotations (the first, 4K/4: only 3 of 4 rotations of its options are here)"
    )
    assert facts.unavailable == {
        "accuracy_all_rotations": {("4K", None): reason, ("4K", "cross"): reason}
    }
    assert json.dumps(facts.note) == '"7 rows of 4K, published are 800"'
