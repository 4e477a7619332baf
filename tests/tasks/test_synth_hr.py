"""Synth-HR is the same benchmark everywhere, and its images exist when they are read."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from p2r_bench.errors import ImageError, UserError
from p2r_bench.synth import iter_rows, write_synth
from p2r_bench.tasks import rendered
from p2r_bench.tasks.hr_bench import HRBench
from p2r_bench.tasks.location import Origin
from p2r_bench.tasks.mme_realworld import MMERealWorld
from p2r_bench.tasks.reading import ImageReader, probe, read_image
from p2r_bench.tasks.synth_hr import SynthHR
from p2r_bench.tasks.vstar import VStar
from p2r_bench.types import DataSource, Sample, Task


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(**params: Any) -> list[Sample]:
    return list(SynthHR().samples(DataSource(params=params)))


def test_rows_are_those_of_the_generator() -> None:
    samples, rows = load(rows=6, seed=3), list(iter_rows(3, 6))
    for sample, row in zip(samples, rows, strict=True):
        assert sample.id == f"4K/{row.index}"
        assert (sample.question, dict(sample.options), sample.answer) == (
            row.question,
            row.options,
            row.answer,
        )
        assert [box.xyxy for box in sample.boxes or ()] == list(row.boxes)
        assert sample.rotation == row.cycle_category
        assert read_image(sample.image) == row.image
    assert [s.question_id for s in samples] == ["4K/q0"] * 4 + ["4K/q1"] * 2


def test_no_image_is_rendered_before_it_is_read(cache: Path) -> None:
    samples = load(rows=8)
    assert not list(cache.rglob("*.jpg"))
    ref = probe(samples[5].image, read_image(samples[5].image))
    assert ref.size == (3840, 2160)
    assert [path.name for path in cache.rglob("*.jpg")] == ["1.jpg"]


def test_rendered_image_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    (sample, *_) = load(rows=1)
    first = read_image(sample.image)
    monkeypatch.setattr(rendered, "_render", None)
    assert read_image(sample.image) == first


def test_threads_that_want_the_same_image_get_the_same_bytes(cache: Path) -> None:
    (sample, *_) = load(rows=1)
    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(ImageReader().read, [sample.image] * 3))) == 1
    assert [
        path.name for path in cache.rglob("*") if path.is_file() and path.name.startswith(".")
    ] == []


def test_folder_of_another_renderer_is_not_added_to(monkeypatch: pytest.MonkeyPatch) -> None:
    (sample, *_) = load(rows=1)
    monkeypatch.setattr(rendered, "fingerprint", lambda seed, split: "another")
    with pytest.raises(ImageError, match="another version of Synth-HR"):
        read_image(sample.image)
    assert load(rows=1)[0].image.path != sample.image.path


def test_eight_k_is_a_subset_of_its_own() -> None:
    (sample, *_) = load(rows=4, resolution="8K")
    assert sample.subset == "8K"
    assert SynthHR().cells(sample) == (("8K", None), ("8K", "single"))


def test_data_digest_depends_on_every_parameter_and_on_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(**params: Any) -> str:
        return SynthHR().data_digest(DataSource(params=params))

    variants: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"rows": 8},
        {"resolution": "8k"},
        {"split": "validation"},
    ]
    digests = [digest(**{"rows": 4, **variant}) for variant in variants]
    assert len(set(digests)) == len(variants)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert digest(rows=4) == digests[0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rows": 0}, "rows: 0"),
        ({"rows": "many"}, "rows: 'many' where a whole number should be"),
        ({"seed": 1.5}, "seed: 1.5 where a whole number should be"),
        ({"resolution": "2k"}, "resolution: '2k'"),
        ({"split": "dev"}, "split: 'dev'"),
        ({"size": 3}, "no parameter 'size'"),
    ],
)
def test_bad_parameter_is_an_error_that_names_it(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(**params)


@pytest.mark.parametrize(
    ("format", "task"), [("hrbench", HRBench), ("vstar", VStar), ("mme", MMERealWorld)]
)
def test_written_formats_load_as_the_benchmarks_they_imitate(
    tmp_path: Path, format: Any, task: type[Task]
) -> None:
    write_synth(tmp_path / "d", seed=3, rows=4, format=format, workers=1)
    samples = list(task().samples(DataSource(tmp_path / "d")))
    for sample, row in zip(samples, iter_rows(3, 4), strict=True):
        assert (sample.question, dict(sample.options), sample.answer) == (
            row.question,
            row.options,
            row.answer,
        )
        assert [box.xyxy for box in sample.boxes or ()] == list(row.boxes)
        assert read_image(sample.image) == row.image


def test_synthesised_folder_is_read_under_its_own_name(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    write_synth(folder, seed=3, rows=4, workers=1)
    with pytest.raises(UserError, match="was not written by `p2r-bench data synth"):
        list(SynthHR().samples(DataSource(folder)))
    Origin("HR-Bench", {}, synthetic=True).write(folder)
    samples = list(SynthHR().samples(DataSource(folder)))
    assert {sample.task for sample in samples} == {"Synth-HR"}
    with pytest.raises(UserError, match="seed: parameters apply to generated rows"):
        list(SynthHR().samples(DataSource(folder, params={"seed": 3})))
