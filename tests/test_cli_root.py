"""The command line as a whole: fast to start, errors without tracebacks, bugs with them."""

from __future__ import annotations

import errno
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from p2r_bench import __version__
from p2r_bench.cli import main
from p2r_bench.errors import UserError
from p2r_bench.plugins import discover

HEAVY = {
    "torch",
    "transformers",
    "pandas",
    "pyarrow",
    "numpy",
    "datasets",
    "PIL",
    "httpx",
    "huggingface_hub",
    "sympy",
}


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["plugins"], ["plugins", "--json"]])
def test_starting_imports_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys\nfrom p2r_bench.cli import main\n"
        f"main({args!r}, standalone_mode=False)\nprint(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    imported = {name.split(".")[0] for name in result.stderr.splitlines()}
    assert "click" in imported
    assert not imported & HEAVY


def test_help_of_every_command_can_be_shown() -> None:
    names = discover().names("command")
    assert {
        "run",
        "leaderboard",
        "show",
        "score",
        "plugins",
        "data",
        "prompts",
        "profile",
        "doctor",
    } <= {*names}
    for name in names:
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0, (name, result.output)
        assert result.output.startswith(f"Usage: p2r-bench {name}") or result.output.startswith(
            "Usage: main"
        )


def test_help_lists_every_command_with_one_line() -> None:
    lines = CliRunner().invoke(main, ["--help"]).output.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in lines] == list(discover().names("command"))
    assert all(len(line.split()) > 2 for line in lines)


def test_unknown_command_ends_with_status_2() -> None:
    result = CliRunner().invoke(main, ["rum"])
    assert result.exit_code == 2 and "No such command 'rum'" in result.output


@pytest.fixture
def command_raising(monkeypatch: pytest.MonkeyPatch) -> object:
    """Makes `p2r-bench plugins` raise an error."""

    def install(error: Exception) -> None:
        def fail() -> None:
            raise error

        monkeypatch.setattr("p2r_bench.cli.plugins.command", click.command("plugins")(fail))

    return install


def test_user_error_is_a_message_and_status_2(command_raising) -> None:  # type: ignore[no-untyped-def]
    command_raising(UserError("data/rows.parquet, row 3: no image"))
    result = CliRunner().invoke(main, ["plugins"])
    assert result.exit_code == 2
    assert result.stderr == "Error: data/rows.parquet, row 3: no image\n" and result.stdout == ""


def test_a_failing_disk_is_a_message_with_the_file_and_the_way_out(command_raising) -> None:  # type: ignore[no-untyped-def]
    command_raising(OSError(errno.ENOSPC, "No space left on device", "out/table.parquet"))
    result = CliRunner().invoke(main, ["plugins"])
    assert result.exit_code == 2
    assert "out/table.parquet: No space left on device; make room" in result.stderr


def test_bug_is_not_hidden(command_raising) -> None:  # type: ignore[no-untyped-def]
    command_raising(KeyError("a bug"))
    assert isinstance(CliRunner().invoke(main, ["plugins"]).exception, KeyError)


def test_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "p2r_bench", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown == f"p2r-bench {__version__}\n"
