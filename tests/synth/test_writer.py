"""Files in the formats of the published benchmarks."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from p2r_bench.errors import UserError
from p2r_bench.synth import SYNTHETIC_KEY, iter_rows, write_synth


def _read(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


def test_hrbench_file_holds_the_rows_in_its_columns(tmp_path: Path) -> None:
    path = write_synth(tmp_path, seed=4, rows=5, workers=1)
    assert path == tmp_path / "data" / "hrbench_4k-00000-of-00001.parquet"
    records = _read(path)
    assert len(records) == 5
    for record, row in zip(records, iter_rows(4, 5), strict=True):
        assert base64.b64decode(record["image"]) == row.image
        assert {letter: record[letter] for letter in "ABCD"} == row.options
        assert (record["index"], record["answer"]) == (row.index, row.answer)
        assert record["cycle_category"] == str(row.cycle_category)
        assert [box["bbox_2d"] for box in record["boxes"]] == [list(box) for box in row.boxes]
        assert [box["label"] for box in record["boxes"]] == list(row.labels)


def test_vstar_file_has_options_and_instruction_in_its_text(tmp_path: Path) -> None:
    record = _read(write_synth(tmp_path, seed=0, rows=1, format="vstar", workers=1))[0]
    row = next(iter_rows(0, 1))
    assert record["text"].startswith(row.question + "\n(A) ")
    assert record["label"] == row.answer
    assert record["category"] == "direct_attributes"
    with Image.open(io.BytesIO(record["image"]["bytes"])) as image:
        assert image.size == (3840, 2160)


def test_mme_file_has_its_options_as_a_list(tmp_path: Path) -> None:
    record = _read(write_synth(tmp_path, seed=0, rows=1, format="mme", workers=1))[0]
    row = next(iter_rows(0, 1))
    assert record["multi-choice options"] == [f"({k}) {v}" for k, v in row.options.items()]
    assert base64.b64decode(record["bytes"]) == row.image
    assert record["category"].startswith("Perception/")


def test_the_number_of_workers_does_not_change_the_file(tmp_path: Path) -> None:
    one = write_synth(tmp_path / "one", seed=1, rows=8, workers=1)
    two = write_synth(tmp_path / "two", seed=1, rows=8, workers=2)
    assert one.read_bytes() == two.read_bytes()


def test_8k_file_is_named_for_its_size(tmp_path: Path) -> None:
    path = write_synth(tmp_path, seed=0, rows=1, resolution="8k", workers=1)
    assert path.name.startswith("hrbench_8k")
    with Image.open(io.BytesIO(base64.b64decode(_read(path)[0]["image"]))) as image:
        assert image.size == (7680, 4320)


def test_interrupted_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("p2r_bench.synth.writer.jpeg", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_synth(tmp_path, seed=0, rows=4, workers=1)
    assert not list((tmp_path / "data").iterdir())


def test_unknown_format_and_unwritable_folder_are_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hrbench, vstar, mme"):
        write_synth(tmp_path, seed=0, rows=4, format="coco")  # type: ignore[arg-type]
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_synth(blocked, seed=0, rows=4, workers=1)


@pytest.mark.parametrize("form", ["hrbench", "vstar", "mme"])
def test_files_carry_feature_types_and_the_mark_of_synthetic_data(
    tmp_path: Path, form: str
) -> None:
    path = write_synth(tmp_path, seed=5, rows=1, format=form, workers=1)  # type: ignore[arg-type]
    schema = pq.read_schema(path)
    assert json.loads(schema.metadata[SYNTHETIC_KEY]) == {
        "seed": 5, "rows": 1, "resolution": "4k", "split": "test"
    }  # fmt: skip
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["boxes"] == [
        {
            "bbox_2d": {"feature": {"dtype": "float64", "_type": "Value"}, "_type": "Sequence"},
            "label": {"dtype": "string", "_type": "Value"},
        }
    ]
    text = {"dtype": "string", "_type": "Value"}
    expected = {
        "hrbench": ("image", text),
        "vstar": ("image", {"_type": "Image"}),
        "mme": ("bytes", text),
    }
    name, feature = expected[form]
    assert features[name] == feature
