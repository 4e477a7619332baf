"""Image bytes come out as they went in, whatever holds them and in whatever order they are read."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from p2r_bench.errors import ImageError, UserError
from p2r_bench.tasks.column import ParquetColumn, Window
from p2r_bench.tasks.reading import ImageReader, probe, read_image
from p2r_bench.tasks.shards import find_shards, open_shard
from p2r_bench.types import ImageRef
from tests.tasks.files import IMAGE, Writer, arrow_file, arrow_stream, encoded, parquet, picture

DATA = [bytes([i]) * (100 + i) for i in range(11)]


class CountingFile:
    """A parquet file that counts how often a pass over it is begun."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 16)
        self.metadata = self._file.metadata
        self.passes = 0

    def iter_batches(self, *args: Any, **options: Any) -> Any:
        self.passes += 1
        return self._file.iter_batches(*args, **options)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven values in row groups of three."""
    path = tmp_path_factory.mktemp("shard") / "rows.parquet"
    parquet(path, pa.table({"image": pa.array(DATA, pa.binary())}))
    return path


def column(shard: Path, window: int = 0) -> tuple[CountingFile, ParquetColumn]:
    file = CountingFile(shard)
    return file, ParquetColumn(file, "image", Window(window))


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with large values, which are read alone."""
    monkeypatch.setattr("p2r_bench.tasks.column._BATCH_ROWS", 1)


@pytest.mark.usefixtures("one_at_a_time")
def test_rows_in_order_cost_one_pass(shard: Path) -> None:
    file, values = column(shard)
    assert [values.value(row).as_py() for row in range(11)] == DATA
    assert file.passes == 1


def test_small_values_are_read_many_at_a_time(shard: Path) -> None:
    file, values = column(shard, window=1 << 20)
    assert [values.value(row).as_py() for row in range(11)] == DATA
    assert file.passes == 1 and len(values._cursors) == 1 and values._cursors[0].row == 11


@pytest.mark.usefixtures("one_at_a_time")
def test_rows_asked_for_in_turn_from_four_places_cost_a_pass_for_each(tmp_path: Path) -> None:
    data = [bytes([n]) * 10 for n in range(200)]
    table = pa.table({"image": pa.array(data, pa.binary())})
    pq.write_table(table, tmp_path / "rows.parquet")
    file, values = column(tmp_path / "rows.parquet")
    for row in range(50):
        for place in range(0, 200, 50):
            assert values.value(place + row).as_py() == data[place + row]
    assert file.passes == 4


def test_rows_slightly_out_of_order_cost_one_pass(shard: Path) -> None:
    file, values = column(shard, window=1 << 20)
    order = [1, 0, 2, 4, 5, 3, 7, 6, 8, 10, 9]
    assert [values.value(row).as_py() for row in order] == [DATA[row] for row in order]
    assert file.passes == 1


@pytest.mark.usefixtures("one_at_a_time")
def test_second_reader_behind_the_first_costs_one_more_pass(shard: Path) -> None:
    file, values = column(shard)
    for row in range(11):
        values.value(row)
        if row >= 2:
            assert values.value(row - 2).as_py() == DATA[row - 2]
    assert file.passes == 2


def test_far_row_is_read_from_its_row_group(shard: Path) -> None:
    file, values = column(shard)
    assert values.value(10).as_py() == DATA[10]
    assert values.value(0).as_py() == DATA[0]
    assert file.passes == 2


@settings(deadline=None, max_examples=60)
@given(
    order=st.lists(st.integers(0, 10), max_size=40), window=st.sampled_from([0, 150, 400, 1 << 20])
)
def test_any_order_gives_the_right_values(shard: Path, order: list[int], window: int) -> None:
    _, values = column(shard, window)
    assert [values.value(row).as_py() for row in order] == [DATA[row] for row in order]


def test_rows_that_do_not_exist_are_refused(shard: Path) -> None:
    _, values = column(shard)
    for row in (-1, 11):
        with pytest.raises(IndexError):
            values.value(row)


def test_window_drops_the_oldest_beyond_its_limit() -> None:
    window = Window(250)
    for row in range(3):
        window.put((0, row), pa.scalar(row), 100)
    assert [window.get((0, row)) is not None for row in range(3)] == [False, True, True]


@pytest.mark.parametrize("write", [parquet, arrow_stream, arrow_file])
@pytest.mark.parametrize("kind", ["struct", "base64", "bytes"])
def test_every_container_and_column_type_is_read(tmp_path: Path, write: Writer, kind: str) -> None:
    columns = {
        "struct": pa.array([{"bytes": data, "path": None} for data in DATA], IMAGE),
        "base64": pa.array([base64.b64encode(data).decode() for data in DATA]),
        "bytes": pa.array(DATA, pa.binary()),
    }
    path = tmp_path / ("rows.parquet" if write is parquet else "rows.arrow")
    write(path, pa.table({"n": list(range(11)), "image": columns[kind]}))
    name = "image.bytes" if kind == "struct" else "image"
    encoding = "base64" if kind == "base64" else "raw"
    refs = [
        ImageRef(path=str(path), row=row, column=name, encoding=encoding)  # type: ignore[arg-type]
        for row in range(11)
    ]
    reader = ImageReader()
    assert [reader.read(ref) for ref in refs] == DATA
    assert [reader.read(ref) for ref in reversed(refs)] == DATA[::-1]
    assert [row["n"] for row in open_shard(path).rows(["n"])] == list(range(11))


def test_threads_read_the_same_bytes(shard: Path) -> None:
    reader = ImageReader(window_bytes=200)
    rows = [(7 * i) % 11 for i in range(300)]

    def read(row: int) -> bytes:
        return reader.read(ImageRef(path=str(shard), row=row, column="image"))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, rows)) == [DATA[row] for row in rows]


def test_more_shards_than_are_kept_open(tmp_path: Path) -> None:
    refs = []
    for number in range(20):
        parquet(tmp_path / f"{number}.parquet", pa.table({"image": [bytes([number])]}))
        refs.append(ImageRef(path=str(tmp_path / f"{number}.parquet"), row=0, column="image"))
    reader = ImageReader()
    for _ in range(2):
        assert [reader.read(ref) for ref in refs] == [bytes([number]) for number in range(20)]


def test_reading_a_shard_in_order_holds_a_fraction_of_it(tmp_path: Path) -> None:
    code = """
import os, sys
import pyarrow as pa, pyarrow.parquet as pq
from tests.tasks.memory import peak
from p2r_bench.tasks.reading import ImageReader
from p2r_bench.types import ImageRef
path = sys.argv[1]
with pq.ParquetWriter(path, pa.schema([("image", pa.binary())]), use_dictionary=False) as writer:
    for _ in range(40):
        writer.write_table(pa.table({"image": [os.urandom(1 << 20) for _ in range(5)]}))
before, reader = peak(), ImageReader(window_bytes=8 << 20)
for row in range(200):
    assert len(reader.read(ImageRef(path=path, row=row, column="image"))) == 1 << 20
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "big.parquet")],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert int(done.stdout) < 100, "MiB for a file of 200"


def test_image_beside_the_shard_is_read_where_the_shard_has_its_path(tmp_path: Path) -> None:
    (tmp_path / "7.png").write_bytes(b"seven")
    parquet(
        tmp_path / "rows.parquet",
        pa.table({"image": pa.array([{"bytes": None, "path": "7.png"}], IMAGE)}),
    )
    assert (
        read_image(ImageRef(path=str(tmp_path / "rows.parquet"), row=0, column="image.bytes"))
        == b"seven"
    )


def test_file_on_disk_and_data_in_memory_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"file")
    assert read_image(ImageRef(path=str(tmp_path / "a.png"))) == b"file"
    assert read_image(ImageRef(data=b"memory")) == b"memory"


def test_data_url_and_wrapped_base64_are_read(tmp_path: Path) -> None:
    text = base64.encodebytes(bytes(range(256))).decode()
    for value in (text, "data:image/png;base64," + text):
        assert read_image(ImageRef(data=value.encode(), encoding="base64")) == bytes(range(256))


def test_null_image_is_an_error_that_names_the_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet(path, pa.table({"image": pa.array(["aGk=", None], pa.string())}))
    with pytest.raises(ImageError, match=r"rows\.parquet, row 1, image: there is no image"):
        read_image(ImageRef(path=str(path), row=1, column="image", encoding="base64"))


def test_text_that_is_not_base64_is_an_error_that_names_the_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet(path, pa.table({"image": ["aGkxx"]}))
    with pytest.raises(ImageError, match=r"row 0, image: not base64"):
        read_image(ImageRef(path=str(path), row=0, column="image", encoding="base64"))


@pytest.mark.parametrize("column", ["other", "image.other"])
def test_missing_column_row_or_file_is_an_image_error(tmp_path: Path, column: str) -> None:
    path = tmp_path / "rows.parquet"
    parquet(path, pa.table({"image": pa.array([{"bytes": b"x", "path": None}], IMAGE)}))
    good = ImageRef(path=str(path), row=0, column=column)
    for ref in (
        good,
        replace(good, column="image.bytes", row=5),
        replace(good, path=f"{path}.parquet"),
    ):
        with pytest.raises(ImageError, match=r"rows\.parquet"):
            ImageReader().read(ref)
    with pytest.raises(ImageError, match=r"gone\.png cannot be read"):
        ImageReader().read(ImageRef(path=str(tmp_path / "gone.png")))


def test_git_lfs_pointer_is_called_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(
        UserError, match=r"rows\.parquet: not a readable parquet file: a Git LFS pointer"
    ):
        open_shard(path)


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow"])
def test_truncated_shard_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    (parquet if name.endswith("parquet") else arrow_stream)(path, pa.table({"a": ["x" * 500] * 9}))
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(UserError, match=rf"{name}: not a readable"):
        open_shard(path)


def test_shards_are_found_in_natural_order_without_caches(tmp_path: Path) -> None:
    names = [
        "data/b-2.arrow",
        "data/b-10.arrow",
        "a.parquet",
        ".cache/x.parquet",
        "data/cache-1.arrow",
        "n.txt",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_shards(tmp_path)]
    assert found == ["a.parquet", "data/b-2.arrow", "data/b-10.arrow"]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [None, 6])
def test_probe_reports_stored_size_and_orientation(format: str, orientation: int | None) -> None:
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    data = encoded(picture(3, (40, 20)), format, exif=exif)
    ref = probe(ImageRef(data=data), data)
    assert (ref.size, ref.orientation) == ((40, 20), orientation or 1)
    assert ref.digest == hashlib.sha256(data).hexdigest()


def test_orientation_out_of_range_counts_as_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 9
    data = encoded(picture(), "JPEG", exif=exif)
    assert probe(ImageRef(data=data), data).orientation == 1


@given(st.binary(max_size=200))
def test_bytes_that_are_no_image_are_an_image_error(data: bytes) -> None:
    with pytest.raises(ImageError, match="not a readable image"):
        probe(ImageRef(path="photo.jpg", data=data), data)


def test_batches_stay_small_where_any_row_group_has_large_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrow cannot read 2 GiB of a nested column into one batch; no batch gets near that."""
    path = tmp_path / "shard.parquet"
    schema = pa.schema([("text", pa.string()), ("crop", IMAGE)])
    sizes = [10] * 300 + [4 << 20] * 40
    with pq.ParquetWriter(path, schema, use_dictionary=False) as writer:
        for start, stop in ((0, 300), (300, 340)):
            rows = [
                {"text": str(n), "crop": {"bytes": bytes(sizes[n])}} for n in range(start, stop)
            ]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    asked: list[int] = []
    real = pq.ParquetFile.iter_batches

    def iter_batches(self: Any, rows: int, **options: Any) -> Any:
        for batch in real(self, rows, **options):
            asked.append(batch.nbytes)
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    shard = open_shard(path)
    assert [row["text"] for row in shard.rows(["text", "crop"])] == [str(n) for n in range(340)]
    assert max(asked) <= 80 << 20
    asked.clear()
    assert len(shard.value("crop", 0)["bytes"].as_py()) == 10
    assert len(shard.value("crop", 339)["bytes"].as_py()) == 4 << 20
    assert max(asked) <= 5 << 20


def test_a_batch_that_arrow_cannot_hold_is_read_in_smaller_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value repeated in a row group counts once in the footer, so that only the attempt shows the size."""
    path = tmp_path / "shard.parquet"
    rows = [{"text": str(n), "crop": {"bytes": DATA[n % 11]}} for n in range(300)]
    schema = pa.schema([("text", pa.string()), ("crop", IMAGE)])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    real = pq.ParquetFile.iter_batches

    def iter_batches(self: Any, at_once: int, **options: Any) -> Any:
        for number, batch in enumerate(real(self, at_once, **options)):
            if number == 1 and batch.num_rows > 5:
                raise pa.ArrowNotImplementedError("Nested data conversions not implemented")
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    monkeypatch.setattr("p2r_bench.tasks.shards._ROWS_AT_ONCE", 70)
    shard = open_shard(path)
    assert [row["text"] for row in shard.rows(["text", "crop"])] == [str(n) for n in range(300)]
    values = [shard.value("crop", n)["bytes"].as_py() for n in range(300)]
    assert values == [row["crop"]["bytes"] for row in rows]
