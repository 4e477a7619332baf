"""A run folder: one writer, nothing done twice, the same files however it came to them."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from p2r_bench.errors import UserError
from p2r_bench.store.equal import differences
from p2r_bench.store.identity import RunLabels, Session, changed_facts, run_id
from p2r_bench.store.reader import RunReader
from p2r_bench.store.rows import verdict_row
from p2r_bench.store.run_folder import RunFolder
from p2r_bench.store.schema import METRICS
from p2r_bench.store.tables import read_rows
from p2r_bench.types import Metric
from tests.store.building import (
    CELLS,
    LABELS,
    SESSION,
    identity,
    make_sample,
    make_verdict,
    open_folder,
    outcome,
)

EXPECTED = {make_sample(n).id: CELLS for n in range(12)}
Outcome = tuple[dict[str, Any], list[dict[str, Any]]]


def record(folder: RunFolder, *outcomes: Outcome) -> list[bool]:
    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*(folder.record(*one) for one in outcomes))

    return asyncio.run(all_of_them())


def run_all(out: Path, outcomes: Iterable[Outcome]) -> Path:
    with open_folder(out) as folder:
        folder.begin(SESSION)
        record(folder, *outcomes)
        folder.finish(EXPECTED, scorer="strict")
        return folder.path


def test_the_folder_is_named_after_model_mode_task_and_hash(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        assert folder.path == tmp_path / "runs" / folder.run_id
        assert folder.run_id == f"model-4b-p2r-hrbench-{identity().digest[:8]}"


@pytest.mark.parametrize("name", ["../../etc", "Ünï cödé/🙂", "a" * 500, "", "."])
def test_any_model_name_makes_a_usable_folder_name(name: str) -> None:
    made = run_id(identity(), RunLabels({"reason": name}, "p2r"))
    assert len(made) < 200 and "/" not in made and made[0].isalnum()


def test_another_name_for_the_same_model_is_the_same_run(tmp_path: Path) -> None:
    path = run_all(tmp_path, [outcome(0)])
    renamed = RunLabels({"perceive": "./copy", "reason": "./copy"}, "p2r")
    with RunFolder.open(tmp_path, identity(), renamed) as folder:
        assert folder.path == path and folder.done == {("4K-000", 0)}


def test_a_start_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError), open_folder(tmp_path):
        raise UserError("no such model")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_session_that_records_nothing_leaves_no_folder(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.begin(SESSION)
        assert folder.empty
        folder.remove_if_unused()
        assert folder.path.exists()
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_without_a_session_can_be_removed_while_it_is_open(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.remove_if_unused()
        assert not folder.path.exists()


def test_a_start_that_fails_leaves_an_earlier_runs_folder_alone(tmp_path: Path) -> None:
    path = run_all(tmp_path, [outcome(0)])
    before = sorted(path.iterdir())
    with pytest.raises(UserError), open_folder(tmp_path):
        raise UserError("no such model")
    assert sorted(path.iterdir()) == before


def test_what_is_done_is_known_when_the_run_is_opened_again(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.begin(SESSION)
        record(folder, outcome(0), outcome(1, status="error"), outcome(2, status="not_applicable"))
        assert folder.done == {("4K-000", 0), ("4K-002", 0)} and folder.errors == {("4K-001", 0)}
    with open_folder(tmp_path) as folder:
        assert folder.done == {("4K-000", 0), ("4K-002", 0)} and folder.errors == {("4K-001", 0)}
        folder.begin(SESSION)
        record(folder, outcome(1))
        assert folder.errors == set() and ("4K-001", 0) in folder.done


def test_the_first_success_of_a_sample_wins(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.begin(SESSION)
        assert record(folder, outcome(0, True), outcome(0, False)) == [True, False]
        assert record(folder, outcome(0, status="error")) == [False]
        assert record(folder, outcome(0, repeat=1)) == [True]
        _, (verdict,) = folder.outcome(("4K-000", 0))
        assert verdict["correct"] is True


def test_nothing_is_recorded_without_a_session(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder, pytest.raises(RuntimeError, match="begin"):
        record(folder, outcome(0))


def test_order_and_interruptions_leave_no_trace_in_the_files(tmp_path: Path) -> None:
    outcomes = [outcome(n, correct=n % 3 > 0) for n in range(12)]
    whole = run_all(tmp_path / "whole", outcomes)
    shuffled = random.Random(5).sample(outcomes, 12)
    run_all(tmp_path / "parts", shuffled[:5])
    run_all(tmp_path / "parts", [outcome(shuffled[5][0]["index"], status="error")])
    parts = run_all(tmp_path / "parts", shuffled)
    assert differences(whole, parts) == []
    assert list(pd.read_parquet(parts / "samples.parquet")["index"]) == list(range(12))


def test_differences_are_found(tmp_path: Path) -> None:
    one = run_all(tmp_path / "one", [outcome(0), outcome(1)])
    other = run_all(tmp_path / "other", [outcome(0, question="Else?"), outcome(1, False)])
    found = differences(one, other)
    assert any(line.startswith("samples ('4K-000', 0) question:") for line in found)
    assert any("verdicts ('4K-001', 0, 'strict') correct: True and False" in line for line in found)
    assert any(" value: 1.0 and 0.5" in line for line in found)
    fewer = run_all(tmp_path / "fewer", [outcome(0)])
    assert any("('4K-001', 0): only in" in line for line in differences(one, fewer))


def test_timings_and_cached_tokens_are_no_difference(tmp_path: Path) -> None:
    slow_row, verdicts = outcome(0)
    stages = [
        {**stage, "engine_seconds": 99.0, "cached_tokens": 0, "timings": "{}"}
        for stage in slow_row["stages"]
    ]
    slow = {**slow_row, "stages": stages, "created": "2020", "total_seconds": 99.0}
    assert (
        differences(
            run_all(tmp_path / "one", [outcome(0)]), run_all(tmp_path / "other", [(slow, verdicts)])
        )
        == []
    )


def test_a_second_process_is_told_who_has_the_run(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from tests.store.building import open_folder\n"
        "folder = open_folder(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"open\n"
        with pytest.raises(UserError, match=f"process {other.pid} "):
            open_folder(tmp_path)
        other.kill()
    open_folder(tmp_path).close()


def test_the_lock_holds_within_a_process_too(tmp_path: Path) -> None:
    with open_folder(tmp_path), pytest.raises(UserError, match="is being written by process"):
        open_folder(tmp_path)
    open_folder(tmp_path).close()


CHANGED = Session(
    pinned={"engines": {"reason": {"dtype": "bfloat16"}}, "versions": {"torch": "2"}},
    engines={"reason": "fake"},
)


def test_resuming_under_other_conditions_is_refused_with_the_differences(tmp_path: Path) -> None:
    run_all(tmp_path, [outcome(0)])
    with open_folder(tmp_path) as folder:
        with pytest.raises(
            UserError, match=r"engines\.reason\.dtype: float32 before, bfloat16 now"
        ):
            folder.begin(CHANGED)
        folder.begin(CHANGED, allow_mixed=True)
        record(folder, outcome(1))
        rows = folder.finish(EXPECTED, scorer="strict")
    assert all(row["mixed"] for row in rows)
    with open_folder(tmp_path) as folder:
        folder.begin(SESSION)  # the conditions of a session that took part are no news
        assert not [s for s in folder.manifest.sessions if "ended" not in s]


def test_a_session_without_results_binds_nobody(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.begin(SESSION)
        record(folder, outcome(0, status="error"))
    with open_folder(tmp_path) as folder:
        folder.begin(CHANGED)
        record(folder, outcome(0))
        assert not any(row["mixed"] for row in folder.finish(None, scorer="strict"))


def test_a_complete_run_can_be_opened_under_any_conditions(tmp_path: Path) -> None:
    run_all(tmp_path, [outcome(n) for n in range(12)])
    with open_folder(tmp_path) as folder:
        assert len(folder.done) == 12
        assert all(row["complete"] for row in folder.finish(EXPECTED, scorer="strict"))


def test_changed_facts_name_what_came_and_went() -> None:
    assert changed_facts({"a": {"b": 1}, "c": (1, 2)}, {"a": {}, "c": [1, 2], "d": None}) == [
        "a.b: 1 before, not recorded now",
        "d: not recorded before, None now",
    ]


def test_completeness_is_counted_against_the_whole_task(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.begin(SESSION)
        record(folder, outcome(0))
        unknown = folder.finish(None, scorer="strict")[0]
        assert (unknown["n_missing"], unknown["complete"]) == (None, False)
        known = folder.finish(EXPECTED, scorer="strict")[0]
        assert (known["n_missing"], known["complete"]) == (11, False)
        record(folder, *(outcome(n) for n in range(1, 12)))
        remembered = folder.finish(scorer="strict")[0]
        assert (remembered["n_missing"], remembered["complete"]) == (0, True)


def test_judging_again_replaces_a_scorers_verdict_and_keeps_the_others(tmp_path: Path) -> None:
    run_all(tmp_path, [outcome(0), outcome(1)])
    key = ("4K-000", 0)
    sample = make_sample(0)
    with RunFolder.open_to_score(
        tmp_path / "runs" / f"model-4b-p2r-hrbench-{identity().digest[:8]}"
    ) as folder:
        assert folder.judged(key) == {"strict": ("1", "00000000")}
        new = [
            verdict_row(make_verdict(sample, False, version="2"), index=0),
            verdict_row(make_verdict(sample, None, scorer="verifier", status="error"), index=0),
        ]
        asyncio.run(folder.record_verdicts(key, new))
        assert folder.judged(key) == {"strict": ("2", "00000000")}
        folder.finish(scorer="strict")
        with pytest.raises(KeyError):
            asyncio.run(folder.record_verdicts(("nobody", 0), new))
    reader = RunReader(folder.path)
    verdicts = [
        (v["sample_id"], v["scorer"], v["version"]) for _, vs in reader.outcomes() for v in vs
    ]
    assert verdicts == [
        ("4K-000", "strict", "2"),
        ("4K-000", "verifier", "1"),
        ("4K-001", "strict", "1"),
    ]
    overall = next(read_rows(folder.path / "metrics.parquet", METRICS))
    assert overall["scorer_version"] == "1,2" and not overall["complete"]


@pytest.mark.parametrize("state", ["finished", "going on", "without journal"])
def test_a_reader_sees_the_latest_rows_from_wherever_they_are(tmp_path: Path, state: str) -> None:
    with open_folder(tmp_path) as folder:
        folder.begin(SESSION)
        record(folder, outcome(1), outcome(2, status="error"))
        folder.finish(EXPECTED, scorer="strict")
        if state == "going on":
            record(folder, outcome(0))
            with (folder.path / "journal.jsonl").open("ab") as journal:
                journal.write(b'{"kind": "sam')
        if state == "without journal":
            (folder.path / "journal.jsonl").unlink()
        reader = RunReader(folder.path)
        seen = [(row["sample_id"], len(verdicts)) for row, verdicts in reader.outcomes()]
        first = [("4K-000", 1)] if state == "going on" else []
        assert seen == [*first, ("4K-001", 1), ("4K-002", 0)]
        assert reader.keys() == [(sample_id, 0) for sample_id, _ in seen]
        row, verdicts = reader.find("4K-001")
        assert row["stages"][1]["text"] == "<answer>B</answer>" and len(verdicts) == 1


def test_a_damaged_manifest_or_journal_is_named(tmp_path: Path) -> None:
    path = run_all(tmp_path, [outcome(0)])
    journal = path / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(b'{"kind": "sample", "verdicts": []}\n' + whole)
    with pytest.raises(
        UserError, match=r"journal\.jsonl, line 1: a journal record without 'sample'"
    ):
        open_folder(tmp_path)
    journal.write_bytes(whole)
    (path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json: damaged"):
        open_folder(tmp_path)
    (path / "manifest.json").write_text('{"schema": 999}')
    with pytest.raises(UserError, match="Upgrade"):
        RunReader(path)


def test_a_full_disk_at_the_end_keeps_the_old_files_and_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run_all(tmp_path, [outcome(0)])
    before = {p.name: p.read_bytes() for p in path.glob("*.parquet")}
    with open_folder(tmp_path) as folder:
        folder.begin(SESSION)
        record(folder, outcome(1))

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("p2r_bench.store.tables.TableWriter.close", full)
            with pytest.raises(UserError, match="No space left on device"):
                folder.finish(EXPECTED, scorer="strict")
        assert {p.name: p.read_bytes() for p in path.glob("*.parquet")} == before
        assert len(RunReader(path).keys()) == 2
        folder.finish(EXPECTED, scorer="strict")
    assert len(pd.read_parquet(path / "samples.parquet")) == 2


def test_notes_and_sessions_are_in_the_manifest(tmp_path: Path) -> None:
    with open_folder(tmp_path) as folder:
        folder.begin(SESSION)
        record(folder, outcome(0))
        folder.note({"rows_per_s": 3.5})
    content = json.loads((folder.path / "manifest.json").read_text())
    (session,) = content["sessions"]
    assert session["noted"] == {"command": ["run"], "rows_per_s": 3.5}
    assert session["ended"] >= session["started"]
    assert content["identity"]["task"] == "HR-Bench"
    assert content["labels"]["profile_text"] == LABELS.profile_text


def test_metrics_of_the_task_are_computed(tmp_path: Path) -> None:
    metrics = (Metric(), Metric("accuracy_all_rotations", per="question"))
    with RunFolder.open(tmp_path, identity(), LABELS, metrics=metrics) as folder:
        folder.begin(SESSION)
        record(folder, *(outcome(n, correct=n != 5) for n in range(12)))
        rows = folder.finish(EXPECTED, scorer="strict")
    values = {(r["metric"], r["subset"], r["category"]): r["value"] for r in rows}
    assert values["accuracy", None, None] == pytest.approx(11 / 12)
    assert values["accuracy_all_rotations", "4K", "single"] == pytest.approx(2 / 3)
