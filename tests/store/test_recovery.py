"""A run survives the loss of its journal or its manifest, or is refused; it is never emptied."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from p2r_bench.errors import UserError
from p2r_bench.store.equal import differences
from p2r_bench.store.reader import RunReader
from p2r_bench.store.rows import verdict_row
from p2r_bench.store.run_folder import RunFolder
from tests.store.building import CELLS, SESSION, make_sample, make_verdict, open_folder, outcome

EXPECTED = {make_sample(n).id: CELLS for n in range(6)}
Outcome = tuple[dict[str, Any], list[dict[str, Any]]]


def record(folder: RunFolder, *outcomes: Outcome) -> None:
    async def all_of_them() -> None:
        await asyncio.gather(*(folder.record(*one) for one in outcomes))

    folder.begin(SESSION, allow_mixed=True)
    asyncio.run(all_of_them())


def finished(out: Path, *outcomes: Outcome) -> Path:
    with open_folder(out) as folder:
        record(folder, *(outcomes or (outcome(n, n != 3) for n in range(6))))
        folder.finish(EXPECTED, scorer="strict")
    return folder.path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run; a copy of it is in `copy`."""
    path = finished(tmp_path)
    shutil.copytree(path, tmp_path / "copy")
    return path


@pytest.mark.parametrize("lines", [None, 0, 1, 5])
def test_scoring_a_run_whose_journal_is_gone_or_cut_short_changes_nothing(
    run: Path, lines: int | None
) -> None:
    journal = run / "journal.jsonl"
    kept = journal.read_bytes().splitlines(keepends=True)[:lines]
    journal.unlink()
    if lines is not None:
        journal.write_bytes(b"".join(kept))
    assert len(RunReader(run).keys()) == 6
    with RunFolder.open_to_score(run) as folder:
        assert len(folder.done) == 6
        rows = folder.finish(scorer="strict")
    assert rows[0]["n"] == 6 and rows[0]["complete"]
    assert differences(run, run.parents[1] / "copy") == []


def test_a_run_whose_journal_is_gone_goes_on(run: Path) -> None:
    (run / "journal.jsonl").unlink()
    with open_folder(run.parents[1]) as folder:
        assert len(folder.done) == 6
        record(folder, outcome(6))
        assert folder.finish({**EXPECTED, "4K-006": CELLS}, scorer="strict")[0]["n"] == 7


def test_samples_that_are_in_no_file_stop_a_run_with_the_way_out(run: Path) -> None:
    (run / "journal.jsonl").unlink()
    (run / "samples.parquet").unlink()
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    for opening in (lambda: RunFolder.open_to_score(run), lambda: open_folder(run.parents[1])):
        with pytest.raises(UserError, match="journal"):
            opening()
    with pytest.raises(UserError, match=r"recorded samples are lost.*Restore journal\.jsonl"):
        open_folder(run.parents[1])
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_parquet_files_of_an_earlier_state_do_not_stand_in_for_the_journal(run: Path) -> None:
    with open_folder(run.parents[1]) as folder:
        record(folder, outcome(6))
        folder.finish(EXPECTED, scorer="strict")
    (run / "journal.jsonl").unlink()
    for name in ("samples", "verdicts"):
        shutil.copy(run.parents[1] / "copy" / f"{name}.parquet", run)
    with pytest.raises(UserError, match="holds 6 samples and not 7"):
        open_folder(run.parents[1])


def test_what_the_journal_knows_later_is_not_replaced(tmp_path: Path) -> None:
    path = finished(tmp_path, outcome(0), outcome(1, status="error"), outcome(2))
    with open_folder(tmp_path) as folder:
        record(folder, outcome(1))
        newer = verdict_row(make_verdict(make_sample(0), False, version="2"), index=0)
        asyncio.run(folder.record_verdicts(("4K-000", 0), [newer]))
    journal = path / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["finished"]["journal_bytes"] = journal.stat().st_size
    (path / "manifest.json").write_text(json.dumps(manifest))
    journal.write_bytes(b"".join(line for line in lines if b'"4K-002"' not in line))
    with RunFolder.open_to_score(path) as folder:
        assert {key[0] for key in folder.done} == {"4K-000", "4K-001", "4K-002"}
        assert folder.judged(("4K-000", 0)) == {"strict": ("2", "00000000")}


@pytest.mark.parametrize("left", ["journal", "parquet", "both"])
def test_a_run_without_manifest_is_continued_by_its_command(run: Path, left: str) -> None:
    (run / "manifest.json").unlink()
    for path in [*run.glob("*.parquet"), run / "journal.jsonl"]:
        if left != "both" and (path.suffix == ".parquet") != (left == "parquet"):
            path.unlink()
    with pytest.raises(
        UserError, match=r"manifest\.json is missing.*the command that made the run"
    ):
        RunReader(run)
    with open_folder(run.parents[1]) as folder:
        assert folder.path == run and len(folder.done) == 6
        with pytest.raises(UserError, match="--allow-mixed"):
            folder.begin(SESSION)
        rows = folder.finish(EXPECTED, scorer="strict")
    assert rows[0]["complete"] and rows[0]["n"] == 6
    assert differences(run, run.parents[1] / "copy", ignore=["engine"]) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}', "[" * 100_000])
def test_a_damaged_manifest_is_refused_with_the_way_out(run: Path, text: str) -> None:
    (run / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"damaged manifest.*delete it.*keeps all recorded samples"):
        RunReader(run)


def test_temporary_files_of_killed_processes_are_removed(run: Path) -> None:
    for name in (".samples.parquet.123.tmp", ".manifest.json.9.tmp"):
        (run / name).write_bytes(b"half")
    with open_folder(run.parents[1]):
        pass
    assert not list(run.glob(".*.tmp"))
