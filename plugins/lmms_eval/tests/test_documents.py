"""Documents become the samples that p2r-bench's own tasks make, by reference to the stored images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from conftest import COLOURS, ROWS
from p2r_bench_lmms_eval.columns import ImageColumn
from p2r_bench_lmms_eval.documents import Documents
from PIL import Image

from p2r_bench import DataSource, Sample, TwoStage, UserError, load_profile
from p2r_bench.plugins import registry
from p2r_bench.tasks.reading import probe, read_image

Load = Callable[[str], Any]


def probed(sample: Sample) -> Sample:
    return replace(sample, image=probe(sample.image, read_image(sample.image)))


@pytest.mark.parametrize(
    ("name", "task", "folder"),
    [
        ("vstar_local", "V-Star", "vstar"),
        ("hrbench_local", "HR-Bench", "hrbench"),
        ("mme_local", "MME-RealWorld-lite", "mme"),
    ],
)
def test_requests_are_those_of_our_own_task_to_the_byte(
    load: Load, theirs: Path, name: str, task: str, folder: str
) -> None:
    documents = Documents(load(name))
    own = list(registry().get("task", task)().samples(DataSource(theirs / folder)))
    assert len(documents) == len(own) == ROWS
    two = TwoStage(load_profile("p2r"))
    for number, sample in enumerate(own):
        found = documents.sample(number)
        assert (found.id, found.task) == (str(number), f"lmms:{name}")
        mine, theirs_ = probed(sample), probed(found)
        assert theirs_.image.digest == mine.image.digest
        for make in (two.perceive_request, lambda s: two.single_request(s, "think")):
            assert make(theirs_).digest == make(mine).digest


def test_other_tasks_are_read_by_their_own_functions(load: Load) -> None:
    documents = Documents(load("colours"))
    sample = documents.sample(1)
    assert (sample.question, sample.answer) == ("Which colour has picture 1?", "green")
    assert sample.answer_form == "word"
    assert sample.meta == {"instruction": "Answer the question using a single word or phrase."}


def test_an_image_that_is_shown_as_stored_is_not_copied(load: Load) -> None:
    task = load("colours")
    for number, colour in enumerate(COLOURS):
        ref = Documents(task).sample(number).image
        assert ref.row == number and ref.path is not None and ref.path.endswith(".arrow")
        image = Image.open(BytesIO(read_image(ref)))
        assert image.size == (96 + number, 64)
        assert image.getpixel((0, 0)) == Image.new("RGB", (1, 1), colour).getpixel((0, 0))


def test_an_image_that_the_task_makes_itself_is_kept_as_made(load: Load) -> None:
    ref = Documents(load("half_colours")).sample(2).image
    assert Image.open(BytesIO(read_image(ref))).size == (49, 64)


def test_filtered_datasets_give_the_right_images(load: Load) -> None:
    dataset = (
        load("colours").dataset["test"].filter(lambda row: row["colour"] in ("green", "black"))
    )
    sizes = [
        Image.open(BytesIO(read_image(ImageColumn(dataset, "photo").ref(i)))).size for i in (0, 1)
    ]
    assert sizes == [(97, 64), (99, 64)]


def test_datasets_in_memory_give_the_stored_bytes(load: Load) -> None:
    import datasets

    source = load("colours").dataset["test"]
    held = datasets.Dataset(source.data.table.combine_chunks(), info=source.info)
    assert not held.cache_files
    for number in range(len(COLOURS)):
        expected = read_image(ImageColumn(source, "photo").ref(number))
        assert read_image(ImageColumn(held, "photo").ref(number)) == expected


def test_documents_with_several_images_are_refused_by_number(load: Load) -> None:
    with pytest.raises(UserError, match="paired_colours, document 0: has 2 images"):
        Documents(load("paired_colours")).sample(0)


def test_the_digest_follows_the_documents(load: Load) -> None:
    assert Documents(load("colours")).digest() == Documents(load("colours")).digest()
    task = load("colours")
    task.dataset["test"] = task.dataset["test"].select(range(3))
    assert Documents(task).digest() != Documents(load("colours")).digest()
