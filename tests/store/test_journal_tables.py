"""The tables that Arrow makes of the journal's lines are those that the rows make."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from p2r_bench.errors import UserError
from p2r_bench.stats.metrics import SAMPLE_COLUMNS, VERDICT_COLUMNS
from p2r_bench.store import journal_tables as tables_module
from p2r_bench.store.journal_index import JournalIndex
from p2r_bench.store.journal_tables import journal_tables, outcomes_of
from p2r_bench.store.rows import verdict_row
from p2r_bench.store.schema import SAMPLES, VERDICTS
from p2r_bench.store.tables import to_arrow
from tests.store.building import (
    SESSION,
    make_sample,
    make_verdict,
    open_folder,
    outcome,
)

Outcome = tuple[dict[str, Any], list[dict[str, Any]]]


def texts(text: str) -> Outcome:
    row, verdicts = outcome(3)
    return {**row, "question": text, "extracted_answer": text}, verdicts


def two_scorers() -> Outcome:
    row, _ = outcome(4)
    names = ("strict", "original")  # not in the order of their names
    return row, [verdict_row(make_verdict(make_sample(4), scorer=name), index=4) for name in names]


OUTCOMES: dict[str, list[Outcome]] = {
    "nothing": [],
    "all kinds": [outcome(2), outcome(0), outcome(1, status="error"), two_scorers()],
    "no verdicts": [outcome(0, status="not_applicable"), outcome(1, status="error")],
    "odd texts": [texts('\x00 \n  "\\ é 😀 \ufffe'), outcome(0)],
    "lone surrogates": [texts("a\ud800b"), outcome(0)],
}


def indexed(out: Path, outcomes: list[Outcome]) -> JournalIndex:
    async def record_all() -> None:
        for row, verdicts in outcomes:
            await folder.record(row, verdicts)

    with open_folder(out) as folder:
        folder.begin(SESSION)
        asyncio.run(record_all())
    return JournalIndex.scan(folder.path / "journal.jsonl")


def expected(index: JournalIndex) -> tuple[Any, Any]:
    rows = list(index.outcomes())
    verdicts = [verdict for _, judged in rows for verdict in judged]
    return to_arrow([r for r, _ in rows], SAMPLES.schema), to_arrow(verdicts, VERDICTS.schema)


@pytest.mark.parametrize("name", OUTCOMES)
def test_tables_hold_what_the_rows_hold(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables_module, "BATCH_ROWS", 100)
    index = indexed(tmp_path, OUTCOMES[name])
    found = list(journal_tables(index))
    assert len(found) == (1 if OUTCOMES[name] else 0)
    for table, rows in zip((t for both in found for t in both), expected(index), strict=False):
        assert table.equals(rows) and table.schema.equals(rows.schema, check_metadata=True)


def test_only_texts_that_arrow_refuses_and_later_verdicts_take_the_slow_way(tmp_path: Path) -> None:
    fast = {
        name: tables_module._parsed(index, index.ordered()) is not None
        for name in OUTCOMES
        if (index := indexed(tmp_path / name, OUTCOMES[name])).entries
    }
    assert fast == {
        "all kinds": True,
        "no verdicts": True,
        "odd texts": True,
        "lone surrogates": False,
    }


def test_verdicts_that_were_added_later_are_in_the_tables(tmp_path: Path) -> None:
    row, verdicts = outcome(0)
    with open_folder(tmp_path) as folder:
        folder.begin(SESSION)
        asyncio.run(folder.record(row, verdicts))
        later = verdict_row(make_verdict(make_sample(0), scorer="original"), index=0)
        asyncio.run(folder.record_verdicts((row["sample_id"], 0), [later]))
        (both,) = journal_tables(JournalIndex.scan(folder.path / "journal.jsonl"))
    assert both[1].column("scorer").to_pylist() == ["original", "strict"]


def test_batches_are_in_the_order_of_the_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables_module, "BATCH_ROWS", 3)
    index = indexed(tmp_path, [outcome(n) for n in (6, 2, 0, 4, 1, 5, 3)])
    found = list(journal_tables(index))
    assert [t.column("index").to_pylist() for t, _ in found] == [[0, 1, 2], [3, 4, 5], [6]]


def test_figures_get_each_sample_with_its_own_verdicts(tmp_path: Path) -> None:
    index = indexed(tmp_path, OUTCOMES["all kinds"])
    (both,) = journal_tables(index)
    found = list(outcomes_of(both, SAMPLE_COLUMNS, VERDICT_COLUMNS))
    assert [(s["sample_id"], [v["scorer"] for v in vs]) for s, vs in found] == [
        ("4K-000", ["strict"]),
        ("4K-001", []),
        ("4K-002", ["strict"]),
        ("4K-004", ["original", "strict"]),
    ]
    assert all({*SAMPLE_COLUMNS} <= s.keys() for s, _ in found)


def test_figures_get_the_finish_reason_of_the_last_stage_where_there_is_one(tmp_path: Path) -> None:
    first, verdicts = outcome(0)
    first["stages"][-1]["finish_reason"] = "length"
    second, _ = outcome(1, status="error")
    second["stages"] = []
    third, _ = outcome(2)
    third["stages"][0]["finish_reason"] = "length"
    index = indexed(tmp_path, [(third, []), (first, verdicts), (second, [])])
    (both,) = journal_tables(index)
    found = [s["last_finish_reason"] for s, _ in outcomes_of(both, SAMPLE_COLUMNS, ("scorer",))]
    assert found == ["length", None, "stop"]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    index = indexed(tmp_path, [outcome(0), outcome(1)])
    damaged = bytearray(index.path.read_bytes())
    damaged[5] = 0
    index.path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"journal\.jsonl, byte 0: damaged"):
        list(journal_tables(index))
