"""`tasks` and `modes` list names quickly; the shell completes them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from p2r_bench.cli import main
from p2r_bench.testing import write_bench


def listed(*arguments: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    found: list[dict[str, object]] = json.loads(result.stdout)
    return found


def test_tasks_say_whether_their_data_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2R_BENCH_DATA", str(tmp_path))
    write_bench(tmp_path / "HR-Bench")
    tasks = {task["task"]: task for task in listed("tasks")}
    assert tasks["HR-Bench"]["data"] == "1 file"
    assert tasks["V-Star"]["data"] == "missing"
    assert tasks["V-Star"]["way"] == "p2r-bench data fetch V-Star"
    assert tasks["Synth-HR"]["data"] == "generated"


def test_tasks_look_into_a_folder_that_is_given(tmp_path: Path) -> None:
    write_bench(tmp_path / "copy" / "HR-Bench")
    tasks = {t["task"]: t for t in listed("tasks", "--data-dir", str(tmp_path / "copy"))}
    assert tasks["HR-Bench"]["data"] == "1 file"


def test_modes_have_their_roles_and_parameters() -> None:
    modes = {mode["mode"]: mode for mode in listed("modes")}
    assert modes["p2r"]["roles"] == ["perceive", "reason"]
    assert modes["p2r"]["parameters"] == {} and modes["p2r"]["about"]


@pytest.mark.parametrize("command", ["tasks", "modes"])
def test_lists_import_neither_torch_nor_pandas(command: str) -> None:
    code = (
        "import sys\nfrom p2r_bench.cli import main\n"
        f"main([{command!r}], standalone_mode=False)\nprint(*sys.modules, file=sys.stderr)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = {name.split(".")[0] for name in shown.stderr.split()}
    assert "click" in imported
    assert not imported & {"torch", "pandas", "transformers", "httpx", "pydantic", "sympy"}


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        (["run", "--mode"], "default,p", "default,p2r"),
        (["run", "--tasks"], "V", "V-Star"),
        (["run", "--engine"], "trans", "transformers"),
        (["run", "--profile"], "original-e", "original-eval"),
        (["run", "--scorer"], "str", "strict"),
        (["profile", "show"], "ti", "tiny"),
        (["data", "fetch"], "HR", "HR-Bench"),
    ],
)
def test_names_are_completed(words: list[str], incomplete: str, expected: str) -> None:
    complete = ShellComplete(main, {}, "p2r-bench", "_P2R_BENCH_COMPLETE")
    values = [item.value for item in complete.get_completions(words, incomplete)]
    assert expected in values


def test_run_ids_are_completed(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "tiny-p2r-hrbench-12345678"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    complete = ShellComplete(main, {}, "p2r-bench", "_P2R_BENCH_COMPLETE")
    items = complete.get_completions(["show", "--out", str(tmp_path)], "tiny")
    assert [item.value for item in items] == [folder.name]
