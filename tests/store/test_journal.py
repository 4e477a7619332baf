"""Acknowledged records survive; others are never written in part."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2r_bench.errors import UserError
from p2r_bench.store.journal import Journal, read_journal

UNSYNCED = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
ANY_TEXT = st.text(st.characters(exclude_categories=()))


def records_in(path: Path) -> list[dict[str, Any]]:
    return [record for _, record in read_journal(path)]


def as_utf16(text: str) -> str:
    """A high and a low surrogate side by side are one character, in JSON as in UTF-16."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@pytest.fixture
def unsynced() -> Iterator[None]:
    """Hundreds of small journals need not reach the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.mark.usefixtures("unsynced")
@UNSYNCED
@given(st.lists(st.dictionaries(st.just("text"), ANY_TEXT), max_size=5))
def test_any_text_comes_back(records: list[dict[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        with Journal(path, window=0) as journal:
            journal.submit(records).result()
        expected = [{k: as_utf16(v) for k, v in record.items()} for record in records]
        assert records_in(path) == expected


def test_a_number_that_is_none_is_not_told(tmp_path: Path) -> None:
    numbers, told = (
        {"a": float("nan"), "b": float("-inf"), "c": 0.1},
        {"a": None, "b": None, "c": 0.1},
    )
    odd = {"text": "\ud800"}
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.submit([numbers, {**numbers, **odd}]).result()
    assert records_in(tmp_path / "journal.jsonl") == [told, {**told, **odd}]


def test_records_are_read_back_at_the_places_that_append_returned(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        first = journal.submit([{"n": 0}, {"n": 1}]).result()
        second = journal.submit([{"n": 2}]).result()
    assert [(span, record["n"]) for span, record in read_journal(path)] == [
        (span, n) for n, span in enumerate(first + second)
    ]


def test_a_group_shares_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = []
    sync = os.fsync

    async def append_all(journal: Journal) -> None:
        await asyncio.gather(*(journal.append([{"n": n}]) for n in range(200)))

    with Journal(tmp_path / "journal.jsonl", window=0.05) as journal:
        monkeypatch.setattr(os, "fsync", lambda handle: (syncs.append(handle), sync(handle)))
        asyncio.run(append_all(journal))
    assert len(syncs) < 200
    assert sorted(r["n"] for r in records_in(tmp_path / "journal.jsonl")) == list(range(200))


def test_append_returns_only_after_the_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    sync = os.fsync

    def watched(handle: int) -> None:
        sync(handle)
        synced.append(os.fstat(handle).st_size)

    async def append(journal: Journal) -> None:
        ((offset, length),) = await journal.append([{"text": "x" * 100}])
        assert synced and synced[-1] >= offset + length

    with Journal(tmp_path / "journal.jsonl") as journal:
        monkeypatch.setattr(os, "fsync", watched)
        asyncio.run(append(journal))


@pytest.mark.parametrize("step", ["write", "fsync"])
def test_a_full_disk_is_an_error_for_everyone_who_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "journal.jsonl"

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    async def append_many(journal: Journal) -> list[Any]:
        waiting = [journal.append([{"n": n}]) for n in range(3)]
        return await asyncio.gather(*waiting, return_exceptions=True)

    journal = Journal(path)
    journal.submit([{"n": -1}]).result()
    if step == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(journal, "_file", HalfFull(journal._file))
    for _ in range(2):  # the journal stays refused: what a failed sync left behind is not known
        outcomes = asyncio.run(append_many(journal))
        assert all(isinstance(outcome, UserError) for outcome in outcomes)
        assert "No space left on device" in str(outcomes[0]) and str(path) in str(outcomes[0])
    journal.close()
    monkeypatch.undo()
    with Journal(path) as again:
        again.submit([{"n": 5}]).result()
    assert records_in(path) == [{"n": -1}, {"n": 5}]


class HalfFull:
    """A file on a disk with room for a few bytes more."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.room = 5

    def write(self, data: memoryview) -> int:
        if self.room == 0:
            raise OSError(28, "No space left on device")
        written: int = self.file.write(data[: self.room])
        self.room = 0
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def test_a_record_that_is_no_json_fails_alone(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        with pytest.raises(TypeError):
            journal.submit([{"n": object()}])
        journal.submit([{"n": 1}]).result()
    assert records_in(tmp_path / "journal.jsonl") == [{"n": 1}]


def test_a_cancelled_caller_leaves_its_record_and_the_others_alone(tmp_path: Path) -> None:
    async def cancel_one(journal: Journal) -> None:
        first = asyncio.ensure_future(journal.append([{"n": 1}]))
        second = asyncio.ensure_future(journal.append([{"n": 2}]))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert first.cancelled()

    with Journal(tmp_path / "journal.jsonl", window=0.05) as journal:
        asyncio.run(cancel_one(journal))
    assert records_in(tmp_path / "journal.jsonl") == [{"n": 1}, {"n": 2}]


@pytest.mark.usefixtures("unsynced")
@UNSYNCED
@given(cut=st.integers(1, 200))
def test_an_unfinished_last_line_is_cut_off_and_nothing_else(cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        with Journal(path, window=0) as journal:
            journal.submit([{"n": n, "text": "é\n" * n} for n in range(8)]).result()
        whole = path.read_bytes()
        path.write_bytes(whole[: -min(cut, len(whole))])
        left = path.read_bytes().count(b"\n")
        assert [record["n"] for record in records_in(path)] == list(range(left))
        with Journal(path, window=0) as journal:
            journal.submit([{"n": 99}]).result()
        assert [record["n"] for record in records_in(path)] == [*range(left), 99]


def test_a_damaged_line_in_the_middle_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"n":1}\n{"n":\x00\x00\n{"n":3}\n')
    with pytest.raises(UserError, match=r"journal\.jsonl, line 2: damaged"):
        records_in(path)


def test_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    program = (
        "import sys; from pathlib import Path; from p2r_bench.store.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for n in range(10**6):\n"
        "    journal.submit([{'n': n, 'text': 'x' * 5000}]).result()\n"
        "    print(n, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(20)][-1]
        process.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split("\n")[:-1])])
    Journal(path).close()
    assert [record["n"] for record in records_in(path)][: acknowledged + 1] == list(
        range(acknowledged + 1)
    )
