"""Parquet files: any path can be written, damage is found, and rows of any size pass."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from p2r_bench.errors import UserError
from p2r_bench.store import tables as tables_module
from p2r_bench.store.leaderboard import read_runs, update_leaderboard
from p2r_bench.store.reader import RunReader
from p2r_bench.store.rebuild import rebuild_leaderboard
from p2r_bench.store.schema import SAMPLES, VERDICTS
from p2r_bench.store.tables import read_rows, to_arrow, write_table
from tests.store.building import CELLS, SESSION, make_sample, open_folder, outcome


@pytest.mark.parametrize("name", ["exp:1", "s3:x", "file:/x", os.fsdecode(b"caf\xe9"), "a b#?%20"])
def test_a_folder_of_any_name_can_be_written_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_folder(Path(name)) as folder:
        folder.begin(SESSION)
        asyncio.run(folder.record(*outcome(0)))
        rows = folder.finish({make_sample(0).id: CELLS}, scorer="strict")
    update_leaderboard(name, rows)
    assert len(read_runs(name)) == len(rows)
    reader = RunReader(folder.path)
    assert reader.states() == {"ok": 1}
    assert reader.find("4K-000")[0]["sample_id"] == "4K-000"


READS: list[Callable[[Path], Any]] = [
    lambda path: list(read_rows(path, SAMPLES)),
    lambda path: list(read_rows(path, SAMPLES, where=[("sample_id", ">=", "")])),
]


def flipped_bits(content: bytes, start: int, stop: int, times: int) -> Iterator[bytes]:
    draw = random.Random(7)
    for _ in range(times):
        damaged = bytearray(content)
        damaged[draw.randrange(start, stop)] ^= 1 << draw.randrange(8)
        yield bytes(damaged)


@pytest.mark.parametrize("read", READS)
def test_damaged_pages_are_never_read_as_other_data(
    tmp_path: Path, read: Callable[[Path], Any]
) -> None:
    path = tmp_path / "samples.parquet"
    write_table(path, SAMPLES, [outcome(n)[0] for n in range(20)])
    whole, rows = path.read_bytes(), read(path)
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    refused = 0
    for damaged in flipped_bits(whole, 0, len(whole) - footer, 100):
        path.write_bytes(damaged)
        try:
            assert read(path) == rows
        except UserError as error:
            refused += 1
            assert "samples.parquet: cannot be read" in str(error)
    assert refused > 50


@pytest.mark.parametrize("name", ["samples", "verdicts"])
def test_the_journal_is_read_where_a_run_has_a_damaged_file(tmp_path: Path, name: str) -> None:
    with open_folder(tmp_path) as folder:
        folder.begin(SESSION)
        for n in range(5):
            asyncio.run(folder.record(*outcome(n)))
        folder.finish(None, scorer="strict")
    whole = list(RunReader(folder.path).outcomes())
    path = folder.path / f"{name}.parquet"
    intact = path.read_bytes()
    for damaged in flipped_bits(intact, 0, len(intact), 20):
        path.write_bytes(damaged)
        assert list(RunReader(folder.path).outcomes()) == whole
    with open_folder(tmp_path) as folder:
        folder.finish(None, scorer="strict")
    assert path.read_bytes() == intact


def test_a_damaged_metrics_file_is_left_out_of_a_rebuilt_leaderboard(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.begin(SESSION)
        asyncio.run(folder.record(*outcome(0)))
        folder.finish(None, scorer="strict")
    path = folder.path / "metrics.parquet"
    (damaged,) = flipped_bits(path.read_bytes(), 0, path.stat().st_size, 1)
    path.write_bytes(damaged)
    (reason,) = rebuild_leaderboard(tmp_path).left_out
    assert "metrics.parquet: is damaged. `p2r-bench score" in reason


def test_files_that_are_up_to_date_are_kept(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.begin(SESSION)
        asyncio.run(folder.record(*outcome(0)))
        first = folder.finish(None, scorer="strict")
        path = folder.path / "samples.parquet"
        written = path.stat().st_ino
        again = folder.finish({make_sample(0).id: CELLS}, scorer="strict")
        assert path.stat().st_ino == written
        assert (first[0]["complete"], again[0]["complete"]) == (False, True)
        asyncio.run(folder.record(*outcome(1)))
        folder.finish(None, scorer="strict")
        assert path.stat().st_ino != written and len(list(read_rows(path, SAMPLES))) == 2


def test_a_row_of_megabytes_passes(tmp_path: Path) -> None:
    row, verdicts = outcome(0)
    row["stages"][0]["text"] = "x" * 5_000_000
    with open_folder(tmp_path) as folder:
        folder.begin(SESSION)
        for one in [(row, verdicts), *(outcome(n) for n in range(1, 20))]:
            asyncio.run(folder.record(*one))
        folder.finish(None, scorer="strict")
        found = list(read_rows(folder.path / "samples.parquet", SAMPLES))
    assert len(found) == 20 and len(found[0]["stages"][0]["text"]) == 5_000_000


def test_row_groups_hold_a_batch_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables_module, "BATCH_ROWS", 3)
    path = tmp_path / "samples.parquet"
    write_table(path, SAMPLES, (outcome(n)[0] for n in range(7)))
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [3, 3, 1]
    assert [row["index"] for row in read_rows(path, SAMPLES)] == list(range(7))


def test_tables_have_the_documented_schema() -> None:
    rows, verdicts = zip(*(outcome(n) for n in range(2)), strict=True)
    assert to_arrow(list(rows), SAMPLES.schema).schema.equals(SAMPLES.schema, check_metadata=True)
    flat = [verdict for some in verdicts for verdict in some]
    assert to_arrow(flat, VERDICTS.schema).schema.equals(VERDICTS.schema, check_metadata=True)
