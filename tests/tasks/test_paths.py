"""Files that data names: only regular ones, and only inside the data folder unless allowed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from p2r_bench.errors import ImageError
from p2r_bench.tasks import files
from p2r_bench.tasks.checking import check
from p2r_bench.tasks.reading import ImageReader
from p2r_bench.tasks.synth_hr import SynthHR
from p2r_bench.tasks.vstar import VStar
from p2r_bench.types import DataSource, ImageRef
from tests.tasks.files import VSTAR, encoded, parquet, picture

QUESTION = "What is it?\n(A) one\n(B) two"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside.png"
    path.write_bytes(encoded(picture()))
    return path


def named(folder: Path, name: str, *, allow_outside: bool = False) -> ImageRef:
    """The image of a V* row that names a file."""
    folder.mkdir(exist_ok=True)
    row = {"image": name, "text": QUESTION, "category": "direct_attributes", "label": "A"}
    line = json.dumps({**row, "question_id": "0"})
    (folder / "test_questions.jsonl").write_text(line)
    (sample,) = VStar().samples(DataSource(folder, allow_outside=allow_outside))
    return sample.image


def stored(folder: Path, name: str, *, allow_outside: bool = False) -> ImageRef:
    """The image of a parquet row without bytes that names a file."""
    row = {"text": QUESTION, "category": "direct_attributes", "label": "A", "question_id": "0"}
    image = {"bytes": None, "path": name}
    parquet(folder / "a.parquet", pa.Table.from_pylist([{**row, "image": image}], VSTAR))
    (sample,) = VStar().samples(DataSource(folder, allow_outside=allow_outside))
    return sample.image


@pytest.mark.parametrize("naming", [named, stored])
@pytest.mark.parametrize("how", ["absolute", "climbing", "linked", "linked folder"])
def test_a_file_outside_the_data_folder_is_read_only_when_allowed(
    tmp_path: Path, outside: Path, how: str, naming: Callable[..., ImageRef]
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "link.png").symlink_to(outside)
    (folder / "link").symlink_to(tmp_path)
    name = {
        "absolute": str(outside),
        "climbing": "../outside.png",
        "linked": "link.png",
        "linked folder": "link/outside.png",
    }[how]
    with pytest.raises(ImageError, match=r"outside the data folder .*--allow-outside"):
        ImageReader().read(naming(folder, name))
    allowed = naming(folder, name, allow_outside=True)
    assert ImageReader().read(allowed) == outside.read_bytes()


@pytest.mark.parametrize("naming", [named, stored])
def test_a_file_inside_is_read_however_it_is_written(
    tmp_path: Path, outside: Path, naming: Callable[..., ImageRef]
) -> None:
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "in.png").write_bytes(outside.read_bytes())
    (folder / "link.png").symlink_to("in.png")
    for name in ("deep/../in.png", "link.png", str(folder / "in.png")):
        assert ImageReader().read(naming(folder, name)) == outside.read_bytes()


def test_a_snapshot_of_the_hubs_cache_is_read(tmp_path: Path, outside: Path) -> None:
    folder = tmp_path / "datasets--a--b" / "snapshots" / "0123"
    blobs = folder.parents[1] / "blobs"
    blobs.mkdir(parents=True)
    folder.mkdir(parents=True)
    (blobs / "abc").write_bytes(outside.read_bytes())
    (folder / "a.png").symlink_to(blobs / "abc")
    (folder / "b.png").symlink_to(outside)
    assert ImageReader().read(named(folder, "a.png")) == outside.read_bytes()
    with pytest.raises(ImageError, match="outside the data folder"):
        ImageReader().read(named(folder, "b.png"))


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("name", ["pipe", "folder", "a\0b", "a" * 5000, "loop", "missing"])
def test_what_is_no_regular_file_is_an_error_of_the_row(
    tmp_path: Path, name: str, allow: bool
) -> None:
    folder = tmp_path / "data"
    (folder / "folder").mkdir(parents=True)
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    for ref in (named(folder, name, allow_outside=allow), ImageRef(path=str(folder / name))):
        with pytest.raises(ImageError, match="cannot be read"):
            ImageReader().read(ref)


def test_a_device_and_a_huge_file_are_refused(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImageError, match="not a regular file"):
        ImageReader().read(named(tmp_path / "data", "/dev/zero", allow_outside=True))
    monkeypatch.setattr(files, "LARGEST_FILE", 10)
    with pytest.raises(ImageError, match="larger than"):
        ImageReader().read(ImageRef(path=str(outside)))


def test_pipes_named_like_files_of_the_benchmark_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    named(folder, "a.png")
    (folder / "deeper" / "direct_attributes").mkdir(parents=True)
    os.mkfifo(folder / "deeper" / "test_questions.jsonl")
    os.mkfifo(folder / "deeper" / "direct_attributes" / "a.json")
    assert len(list(VStar().samples(DataSource(folder)))) == 1


def test_data_check_names_the_way_out(tmp_path: Path, outside: Path) -> None:
    folder = tmp_path / "data"
    named(folder, "../outside.png")
    findings = check(VStar(), DataSource(folder)).findings
    assert any("--allow-outside" in finding.problem for finding in findings)
    findings = check(VStar(), DataSource(folder, allow_outside=True)).findings
    assert not any(finding.kind == "image" for finding in findings)


def test_a_recipe_of_synth_hr_in_a_data_folder_renders_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    ref = named(folder, "99999999999999.jpg")
    (folder / "synth_hr.json").write_text('{"seed": 0}')
    with pytest.raises(ImageError, match="No such file"):
        ImageReader().read(ref)


def synth(cache: Path, monkeypatch: pytest.MonkeyPatch) -> ImageRef:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return next(iter(SynthHR().samples(DataSource(params={"rows": 4})))).image


def test_a_damaged_image_of_synth_hr_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = synth(tmp_path, monkeypatch)
    data = ImageReader().read(ref)
    for damaged in (data[:-100], b"", data[:500] + b"\0" + data[501:]):
        Path(ref.path or "").write_bytes(damaged)
        assert ImageReader().read(ref) == data
        assert Path(ref.path or "").read_bytes() == data


@pytest.mark.parametrize("text", ["", "{}", "[" * 100_000, '{"seed": 1e400}'])
def test_a_damaged_recipe_of_synth_hr_is_an_error_and_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    ref = synth(tmp_path, monkeypatch)
    recipe = Path(ref.path or "").parent / "synth_hr.json"
    good = recipe.read_text()
    recipe.write_text(text)
    with pytest.raises(ImageError, match="damaged"):
        ImageReader().read(ref)
    assert synth(tmp_path, monkeypatch) == ref and recipe.read_text() == good


def test_a_huge_number_of_an_image_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = synth(tmp_path, monkeypatch)
    huge = Path(ref.path or "").with_name("99999999999.jpg")
    with pytest.raises(ImageError, match="not the name of an image"):
        ImageReader().read(replace(ref, path=str(huge)))
