"""No command writes what a terminal would obey, wherever the text comes from."""

from __future__ import annotations

import errno
import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from p2r_bench.cli import main
from p2r_bench.errors import UserError
from p2r_bench.run.progress import Lines
from p2r_bench.terminal import escape_log
from tests.run.conftest import write_bench
from tests.tasks.files import encoded, picture

EVIL = "\x1b]0;owned\x07\x9b31m\u202e\x7f"
CLI = Path(__file__).parents[1] / "p2r_bench" / "cli"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def assert_clean(result: Result, *, shown: bool = True) -> None:
    text = result.stdout + result.stderr
    assert not [c for c in text if c not in "\n\t" and not c.isprintable()], repr(text)
    assert not shown or r"\x1b]0;owned" in text, text
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception


def questions(folder: Path, **changes: object) -> Path:
    """V*'s files with one row."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.png").write_bytes(encoded(picture()))
    row = {"image": "a.png", "category": "direct_attributes", "label": "A", "question_id": "0"}
    row |= {"text": f"What {EVIL}?\n(A) one\n(B) two", **changes}
    (folder / "test_questions.jsonl").write_text(json.dumps(row))
    return folder


def test_a_dry_run(tmp_path: Path) -> None:
    data = questions(tmp_path)
    assert_clean(run("run", "--dry-run", "--tasks", "V-Star", "--data-dir", data))


@pytest.mark.parametrize(
    "changes", [{"category": EVIL}, {"image": f"{EVIL}.png"}, {"question_id": EVIL, "label": "C"}]
)
def test_errors_of_rows(tmp_path: Path, changes: dict[str, object]) -> None:
    data = questions(tmp_path, **changes)
    shown = "label" not in changes
    assert_clean(run("data", "check", "V-Star", "--data-dir", data), shown=shown)
    options: Sequence[str] = ("--mode", "default", "--out", str(tmp_path / "out"))
    result = run("run", "--tasks", "V-Star", "--data-dir", data, *options)
    assert_clean(result, shown=shown)


def test_columns_and_names_of_files(tmp_path: Path) -> None:
    data = write_bench(tmp_path / f"data{EVIL}".replace("/", ""))
    file = next(data.glob("*.parquet"))
    table = pq.read_table(file)
    pq.write_table(table.rename_columns([EVIL, *table.schema.names[1:]]), file)
    assert_clean(run("data", "check", "HR-Bench", "--data-dir", data))
    assert_clean(run("run", "--tasks", "HR-Bench", "--data-dir", data))
    (tmp_path / "bad").mkdir()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "bad" / f"{EVIL}.parquet")
    assert_clean(run("run", "--tasks", "HR-Bench", "--data-dir", tmp_path / "bad"))


def test_predictions(tmp_path: Path) -> None:
    file = tmp_path / "predictions.jsonl"
    row = {"task": "t", "mode": "default", "text": f"A {EVIL}", "options": ["x", "y"]}
    file.write_text(json.dumps({**row, "answer": "A"}))
    assert_clean(run("score", "--predictions", file), shown=False)
    file.write_text(json.dumps({**row, "answer": EVIL}))
    assert_clean(run("score", "--predictions", file))
    file.write_text(json.dumps({**row, "answer": "1", "options": None, "answer_form": "number"}))
    assert_clean(run("score", "--predictions", file), shown=False)


def test_usage_errors() -> None:
    assert_clean(run("show", f"--{EVIL}"))
    assert_clean(run("run", "--mode", EVIL, "--tasks", EVIL))


def test_what_is_logged_and_what_progress_says(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = logging.lastResort
    assert handler is not None
    monkeypatch.setattr(handler, "formatter", None)
    escape_log()
    try:
        raise UserError(EVIL)
    except UserError:
        handler.handle(logging.getLogger("a").makeRecord("a", 30, "", 0, "%s", (EVIL,), None))
    Lines().say(EVIL)
    shown = capsys.readouterr().err
    assert shown == 2 * "\\x1b]0;owned\\x07\\x9b31m\\u202e\\x7f\n"


def test_commands_write_in_one_way() -> None:
    raw = [
        f"{path.name}: {line.strip()}"
        for path in CLI.glob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if re.search(r"click\.s?echo\(|(?<![\w.])print\(|sys\.stdout\.write", line)
        and "printable(" not in line
    ]
    assert raw == [r'data.py: click.echo("\r\033[K", nl=False, err=True)']


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EMFILE, "Too many open files", "f"), "ulimit -n"),
        (ExceptionGroup("", [OSError(errno.EMFILE, "Too many open files")]), "ulimit -n"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "--image-memory"),
        (MemoryError(), "--image-memory"),
        (ExceptionGroup("", [ExceptionGroup("", [MemoryError()])]), "--image-memory"),
    ],
)
def test_too_few_handles_and_too_little_memory_are_messages(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("p2r_bench.tasks.checking.check", fail)
    result = run("data", "check", "V-Star")
    assert result.exit_code == 2 and message in result.stderr
