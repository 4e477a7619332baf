"""Questions, options and rotations of Synth-HR."""

from __future__ import annotations

import io
from collections import Counter
from itertools import islice

import pytest
from PIL import Image

from p2r_bench.errors import UserError
from p2r_bench.synth.rows import CATEGORIES, LETTERS, SIZES, iter_rows, questions, rows_of
from p2r_bench.synth.scene import SIGN_COLOURS, make_scene


def test_scene_is_a_function_of_its_seed() -> None:
    assert make_scene("test/0/3") == make_scene("test/0/3")
    assert make_scene("test/0/3") != make_scene("test/0/4")


def test_splits_and_seeds_share_no_scene() -> None:
    kinds = [(split, seed) for split in ("train", "validation", "test") for seed in (0, 1)]
    scenes = [q.scene for split, seed in kinds for q, _ in questions(seed, 20, split)]
    assert len({scene.signs for scene in scenes}) == len(scenes)


def test_signs_of_a_scene_have_different_colours_and_keep_apart() -> None:
    for i in range(200):
        scene = make_scene(f"test/9/{i}")
        assert 3 <= len(scene.signs) <= 6
        assert len({sign.colour for sign in scene.signs}) == len(scene.signs)
        plates = [*scene.signs, *scene.distractors]
        for k, a in enumerate(plates):
            assert all(-0.05 < edge < 1.05 for edge in a.box)
            for b in plates[:k]:
                apart_x = a.box[2] <= b.box[0] or b.box[2] <= a.box[0]
                apart_y = a.box[3] <= b.box[1] or b.box[3] <= a.box[1]
                assert apart_x or apart_y


def test_signs_lie_wholly_inside_the_image() -> None:
    for i in range(200):
        for sign in make_scene(f"test/8/{i}").signs:
            assert all(0 < edge < 1 for edge in sign.box)
            outer, inner = sign.box, sign.mark_box
            assert outer[0] < inner[0] < inner[2] < outer[2]
            assert outer[1] < inner[1] < inner[3] < outer[3]


def test_answers_follow_from_the_digits_of_the_named_signs() -> None:
    for question, start in questions(5, 60):
        for row in rows_of(question, start, 0, b""):
            named = [question.scene.sign(label.removesuffix(" sign")) for label in row.labels]
            assert row.options[row.answer] == str(sum(sign.digit for sign in named))
            assert all(sign.colour in row.question for sign in named)
            assert len(named) == (1 if row.category == "single" else 2)


def test_options_are_four_different_numbers() -> None:
    for question, _ in questions(6, 300):
        assert len(set(question.options)) == len(LETTERS)
        assert all(option.isdigit() for option in question.options)


def test_four_rotations_put_the_answer_under_every_letter() -> None:
    for question, start in questions(7, 40):
        rows = list(rows_of(question, start, 0, b""))
        assert [row.cycle_category for row in rows] == [0, 1, 2, 3]
        assert sorted(row.answer for row in rows) == list(LETTERS)
        assert len({tuple(sorted(row.options.values())) for row in rows}) == 1


def test_options_alone_do_not_give_the_answer_away() -> None:
    """Neither the size of a number nor its nearness to the middle says which option is right."""
    for category in CATEGORIES:
        ranks, middle, n = Counter[int](), 0, 0
        for question, _ in questions(3, 1600):
            if question.category != category:
                continue
            n += 1
            values = [int(option) for option in question.options]
            ranks[sorted(values).index(values[0])] += 1
            middle += min(values, key=lambda value: abs(value - 9)) == values[0]
        assert all(0.18 < count / n < 0.32 for count in ranks.values())
        assert 0.18 < middle / n < 0.33


def test_categories_take_turns() -> None:
    assert [q.category for q, _ in questions(0, 4)] == ["single", "cross", "single", "cross"]


def test_rotations_share_one_image_of_the_promised_size() -> None:
    rows = list(iter_rows(0, 6))
    assert [row.index for row in rows] == list(range(6))
    assert rows[0].image is rows[3].image
    assert rows[3].image != rows[4].image
    with Image.open(io.BytesIO(rows[0].image)) as image:
        assert (image.format, image.size) == ("JPEG", SIZES["4k"])


def test_rows_are_rendered_as_they_are_asked_for() -> None:
    assert len(list(islice(iter_rows(0, 1_000_000), 2))) == 2


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"rows": 0}, "rows"),
        ({"rows": 4, "resolution": "16k"}, "resolution"),
        ({"rows": 4, "split": "dev"}, "split"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, field: str) -> None:
    with pytest.raises(UserError, match=field):
        list(iter_rows(0, **arguments))


def test_boxes_are_the_plates_in_thousandths() -> None:
    question, start = next(questions(2, 1))
    row = next(iter(rows_of(question, start, 0, b"")))
    assert row.boxes[0] == pytest.approx([1000 * edge for edge in question.signs[0].box], abs=0.06)
    assert row.labels[0].split()[0] in SIGN_COLOURS
