"""Rows of every wrong kind are errors that name the file and the row, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from p2r_bench.errors import UserError
from p2r_bench.tasks.bad_rows import load_rows
from p2r_bench.tasks.checking import check
from p2r_bench.tasks.fields import Row, is_number
from p2r_bench.tasks.location import Origin
from p2r_bench.tasks.vstar import VStar
from p2r_bench.tasks.vstar_boxes import read_annotations
from p2r_bench.types import DataSource
from tests.tasks.files import VSTAR, encoded, parquet, picture
from tests.tasks.test_kind import Plain

GOOD = {
    "image": "a.png",
    "text": "What\u2028is\x85it?\n(A) one\n(B) two",
    "category": "direct_attributes",
    "label": "A",
}
DEEP = b"[" * 100_000 + b"]" * 100_000
HUGE = int("9" * 400)


def lines(folder: Path, *found: bytes) -> Path:
    (folder / "a.png").write_bytes(encoded(picture()))
    (folder / "test_questions.jsonl").write_bytes(b"\n".join(found))
    return folder


def row(number: int, **changes: Any) -> bytes:
    return json.dumps({**GOOD, "question_id": number, **changes}, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "bad",
    [
        b"\xff\xfe{}",
        row(1).decode().encode("utf-16"),
        DEEP,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"question_id": ' + b"9" * 5000 + b"}",
        row(1, boxes=[[HUGE, 0, 1, 1]]),
        row(1, boxes="[" * 100_000),
        row(1, text=None),
        row(1, text=HUGE),
        row(1, label=[[[]]]),
        row(1, category={"a": {"b": []}}),
        row(1, image=3),
        b"3",
        b'"text"',
        b"\xef\xbb\xbf" + row(1),
        b"\0",
    ],
    ids=range(16),
)
def test_a_bad_line_is_one_bad_row_among_good_ones(tmp_path: Path, bad: bytes) -> None:
    folder = lines(tmp_path, row(0), bad.replace(b"\n", b" "), row(2))
    samples, wrong = load_rows(VStar(), DataSource(folder), skip_bad=True)
    assert len(samples) == 2 and len(wrong) == 1
    assert "test_questions.jsonl, row 1" in str(wrong[0])
    assert "\u2028" in samples[0].question
    assert any(
        "row 1" in finding.problem for finding in check(VStar(), DataSource(folder)).findings
    )


@pytest.mark.parametrize(
    "text",
    [DEEP, b"\xff\xfe", b"", b"[]", b'{"bbox": ' + b"9" * 5000 + b"}"],
    ids=range(5),
)
def test_a_damaged_annotation_is_an_error_that_names_it(tmp_path: Path, text: bytes) -> None:
    folder = tmp_path / "direct_attributes"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(picture()))
    (folder / "a.json").write_bytes(text)
    (found,) = read_annotations(tmp_path)
    assert isinstance(found, UserError) and "a.json" in str(found)


def test_a_number_without_a_float_is_none() -> None:
    assert not is_number(HUGE) and not is_number(-HUGE) and not is_number(float("inf"))
    assert is_number(3) and is_number(0.5) and not is_number(True)
    with pytest.raises(UserError, match=r"row 4, boxes"):
        Row(Path("f"), 4, {"boxes": [[HUGE, 0, 1, 1]]}).boxes()


@pytest.mark.parametrize("text", [DEEP, b"\xff", b"[1]", b'{"task": 1}'], ids=range(4))
def test_a_damaged_record_is_an_error_with_the_way_out(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "p2r_bench_data.json").write_bytes(text)
    with pytest.raises(UserError, match=r"p2r_bench_data\.json: damaged.*fetch the data again"):
        Origin.read(tmp_path)


def test_an_image_column_of_another_type_is_named(tmp_path: Path) -> None:
    inner = pa.struct([("bytes", pa.struct([("deep", pa.binary())])), ("path", pa.string())])
    schema = VSTAR.set(0, pa.field("image", inner))
    values = {"text": GOOD["text"], "category": GOOD["category"], "label": "A", "question_id": "0"}
    table = pa.Table.from_pylist([{**values, "image": {"bytes": {"deep": b""}}}], schema)
    parquet(tmp_path / "a.parquet", table)
    with pytest.raises(UserError, match=r"a\.parquet: column 'image'.*not bytes"):
        load_rows(VStar(), DataSource(tmp_path))


def test_data_without_rows_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Plain, "samples", lambda self, source: iter(()))
    (finding,) = check(Plain(), DataSource()).findings
    assert (finding.kind, finding.sample_id) == ("count", None) and "no rows" in finding.problem
