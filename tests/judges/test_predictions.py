"""`p2r-bench score --predictions`: raw outputs in, verdicts out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from p2r_bench.cli import main
from p2r_bench.judges.chat_service import ChatService

ROW: dict[str, Any] = {
    "task": "HR-Bench",
    "mode": "p2r",
    "text": "<think>It is blue.</think><answer>B</answer>",
    "options": {"A": "red", "B": "blue", "C": "green", "D": "black"},
    "answer": "B",
}


def score(folder: Path, *rows: Any, args: tuple[str, ...] = ()) -> Result:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows), "utf-8")
    return CliRunner().invoke(main, ["score", "--predictions", str(path), *args])


def verdicts(folder: Path, *rows: Any, args: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    result = score(folder, *rows, args=("--json", *args))
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def refusal(folder: Path, *rows: Any, args: tuple[str, ...] = ()) -> str:
    result = score(folder, *rows, args=args)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    return result.stderr


def test_each_row_gets_its_extracted_answer_and_verdict(tmp_path: Path) -> None:
    (one,) = verdicts(tmp_path, ROW)
    assert one == {
        "index": 0,
        "id": None,
        "answer_text": "B",
        "extracted": "B",
        "span": [0, 1],
        "correct": True,
        "score": 1.0,
        "scorer": "strict",
        "version": "3",
        "fallback": None,
        "status": "ok",
        "error": None,
    }


def test_rows_keep_their_order_and_their_id(tmp_path: Path) -> None:
    rows = [{**ROW, "id": f"q{i}"} for i in range(5)]
    found = verdicts(tmp_path, *rows, "")
    assert [(one["index"], one["id"]) for one in found] == [(i, f"q{i}") for i in range(5)]


def test_the_answer_is_taken_out_as_the_mode_requires(tmp_path: Path) -> None:
    text = "Answer: C"
    rows = [
        {**ROW, "mode": mode, "text": text}
        for mode in ("default", "thinking", "p2r", "oracle", "mine")
    ]
    found = verdicts(tmp_path, *rows)
    assert [one["extracted"] for one in found] == ["C", None, None, None, None]
    assert all(one["correct"] is False and one["status"] == "ok" for one in found)


def test_the_profile_decides_the_answer_policy(tmp_path: Path) -> None:
    row = {**ROW, "text": "B"}
    assert verdicts(tmp_path, row)[0]["extracted"] is None
    service = ("--profile", "original-train-service")
    assert verdicts(tmp_path, row, args=service)[0]["extracted"] == "B"


def test_the_scorer_can_be_chosen(tmp_path: Path) -> None:
    row = {**ROW, "mode": "default", "text": "Based on the image I cannot tell"}
    assert verdicts(tmp_path, row)[0]["extracted"] is None
    (one,) = verdicts(tmp_path, row, args=("--scorer", "original"))
    assert (one["scorer"], one["extracted"], one["correct"]) == ("original", "B", True)


def test_the_task_decides_the_published_letters(tmp_path: Path) -> None:
    options = dict(zip("ABCDE", ("red", "blue", "green", "black", "none"), strict=True))
    row = {**ROW, "mode": "default", "text": "maybe E", "options": options}
    mme = {**row, "task": "MME-RealWorld-lite"}
    found = verdicts(tmp_path, row, mme, args=("--scorer", "original"))
    assert [one["extracted"] for one in found] == [None, "E"]


def test_options_may_be_a_list(tmp_path: Path) -> None:
    row = {**ROW, "options": ["red", 7, "green", "black"], "text": "<answer>7</answer>"}
    assert verdicts(tmp_path, row)[0]["extracted"] == "B"


def test_other_answer_forms_are_judged_by_their_own_scorer(tmp_path: Path) -> None:
    row = {**ROW, "options": None, "answer_form": "number", "answer": 7}
    del row["options"]
    (one,) = verdicts(tmp_path, {**row, "text": "<answer>seven</answer>"})
    assert (one["scorer"], one["correct"]) == ("numeric", True)


def test_an_error_verdict_is_told_and_is_not_wrong(tmp_path: Path) -> None:
    row = {**ROW, "options": [], "answer_form": "number", "answer": "several"}
    result = score(tmp_path, row, args=("--json",))
    assert result.exit_code == 1
    (one,) = json.loads(result.stdout)
    assert (one["status"], one["correct"]) == ("error", None)
    assert one["error"].startswith("bad_reference: ")


def test_without_json_a_table_and_the_share_of_right_rows_are_shown(tmp_path: Path) -> None:
    result = score(tmp_path, ROW, {**ROW, "text": "?"})
    assert result.exit_code == 0
    assert "50.0 % right of 2 scored, 0 errors" in result.stdout


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"text": None}, "text: null; a failed request"),
        ({"text": 3}, "text: must be text, not 3"),
        ({"task": None}, "task: must be text"),
        ({"mode": ["p2r"]}, "mode: must be text"),
        ({"answer": "E"}, "answer: 'E' is not the letter of an option; they are A, B, C, D"),
        ({"answer": "blue"}, "answer: 'blue' is not the letter"),
        ({"answer": None}, "answer: must be text"),
        ({"options": "red"}, "options: must map letters to texts"),
        ({"options": {"A": None}}, "options: A: must be text"),
        ({"options": ["x"] * 27}, "options: 27 of them"),
        ({"options": None}, "options: missing; without options name the answer_form"),
        ({"answer_form": "essay"}, "answer_form: 'essay' is not one of choice"),
        ({"id": [1]}, "id: must be"),
    ],
)
def test_a_malformed_row_is_refused_by_file_line_and_field(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    message = refusal(tmp_path, ROW, {**ROW, **change})
    assert f"rows.jsonl, line 2: {told}" in message


@pytest.mark.parametrize("field", ["task", "mode", "text", "answer"])
def test_a_missing_field_is_named(tmp_path: Path, field: str) -> None:
    row = {name: value for name, value in ROW.items() if name != field}
    assert f"line 1: {field}: missing" in refusal(tmp_path, row)


@pytest.mark.parametrize("line", ["{", "[1]", "null", '"text"', "[" * 100_000])
def test_a_line_that_is_no_object_is_refused(tmp_path: Path, line: str) -> None:
    assert "line 2: not a JSON object" in refusal(tmp_path, ROW, line)


def test_a_file_without_rows_or_without_a_file_is_refused(tmp_path: Path) -> None:
    assert "has no rows" in refusal(tmp_path, "")
    missing = CliRunner().invoke(main, ["score", "--predictions", str(tmp_path / "none.jsonl")])
    assert missing.exit_code == 2 and "none.jsonl: cannot be read" in missing.stderr


def test_a_run_or_predictions_have_to_be_named_but_not_both(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["score"]).exit_code == 2
    assert "either run folders or --predictions" in refusal(tmp_path, ROW, args=(str(tmp_path),))


def test_a_scorer_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    assert "does not judge choice questions" in refusal(tmp_path, ROW, args=("--scorer", "numeric"))
    assert "no judge is called 'strickt'" in refusal(tmp_path, ROW, args=("--scorer", "strickt"))


def test_free_answers_need_a_verifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("P2R_BENCH_VERIFIER_URL", raising=False)
    row = {**ROW, "options": None, "answer_form": "free", "question": "What?"}
    assert "verifier:url=" in refusal(tmp_path, row)


def test_a_thought_holds_no_answer_in_any_mode(tmp_path: Path) -> None:
    texts = ["<think>so <answer>B</answer>", "It is B</think>", "<think>B</think>"]
    rows = [{**ROW, "mode": m, "text": t} for m in ("default", "thinking", "p2r") for t in texts]
    assert {one["extracted"] for one in verdicts(tmp_path, *rows)} == {None}


def test_both_figures_are_printed_with_a_second_opinion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def say(self: ChatService, payload: dict[str, object]) -> str:
        return "VERDICT: CORRECT"

    monkeypatch.setattr(ChatService, "ask", say)
    args = (
        *("--judge-arg", "strict:fallback=verifier", "--judge-arg", "verifier:model=m"),
        *("--judge-arg", "verifier:url=http://verifier.test/v1"),
        *("--judge-arg", f"verifier:cache_dir={tmp_path / 'cache'}"),
    )
    unclear = {**ROW, "mode": "default", "text": "probably the second one"}
    first, second = verdicts(tmp_path, ROW, unclear, args=args)
    assert (first["second_opinion"]["fallback"], second["correct"]) == (None, False)
    opinion = second["second_opinion"]
    assert (opinion["scorer"], opinion["correct"]) == ("strict-then-verifier", True)
    assert opinion["fallback"] == "verifier"
    printed = score(tmp_path, ROW, unclear, args=args).stdout
    assert "50.0 % right of 2 scored, 0 errors" in printed
    assert "strict-then-verifier: 100.0 % right of 2 scored, 0 errors, 1 decided by the" in printed
