"""`p2r-bench runs`: listed, shown, found as latest, and removed with their figures."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from p2r_bench.cli import main
from p2r_bench.cli.table import width
from p2r_bench.store.leaderboard import read_runs, update_leaderboard
from p2r_bench.store.reader import find_run
from tests.store.building import CELLS, SESSION, make_sample, open_folder, outcome


def runs(out: Path, *args: str, answer: str = "", **environment: str) -> Result:
    given = ["runs", args[0], "--out", str(out), *args[1:]]
    return CliRunner().invoke(main, given, input=answer, env=environment)


def made(out: Path, *statuses: Any, of: int = 4, finish: bool = True, **identity: Any) -> Path:
    expected = {make_sample(n).id: CELLS for n in range(of)}
    with open_folder(out, **identity) as folder:
        folder.begin(SESSION, expected=expected if of else None)
        for number, status in enumerate(statuses):
            asyncio.run(folder.record(*outcome(number, status=status)))
        if finish:
            update_leaderboard(out, folder.finish(expected, scorer="strict"))
        return folder.path


def test_runs_are_listed_with_how_far_they_are(tmp_path: Path) -> None:
    made(tmp_path, *["ok"] * 4)
    made(tmp_path, "ok", "error", "not_applicable", seed=1)
    made(tmp_path, "ok", finish=False, seed=2)
    going = made(tmp_path, "ok", of=0, finish=False, seed=3)
    lines = runs(tmp_path, "list").output.splitlines()
    assert lines[0].split()[:4] == ["run", "done", "errors", "state"]
    assert [line.split()[1:4] for line in lines[1:]] == [
        ["1/?", "-", "incomplete"],
        ["1/4", "-", "incomplete"],
        ["2/4", "1", "incomplete"],
        ["4/4", "-", "complete"],
    ]
    (first, *_) = json.loads(runs(tmp_path, "list", "--json").output)
    assert (first["run_id"], first["done"], first["expected"]) == (going.name, 1, None)


def test_the_list_fits_the_terminal(tmp_path: Path) -> None:
    made(tmp_path, "ok", mode="a-mode-with-a-name-that-is-longer-than-many")
    output = runs(tmp_path, "list", COLUMNS="60").output
    assert max(width(line) for line in output.splitlines()) <= 60
    assert "1/4" in output and "left out" in output


def test_a_damaged_run_is_named_and_hides_no_other(tmp_path: Path) -> None:
    made(tmp_path, *["ok"] * 4)
    damaged = made(tmp_path, "ok", seed=1)
    (damaged / "manifest.json").write_text("{")
    result = runs(tmp_path, "list")
    assert result.exit_code == 0 and "4/4" in result.output and "damaged manifest" in result.output


def test_without_runs_the_list_says_so(tmp_path: Path) -> None:
    assert "no run found" in runs(tmp_path, "list").output
    latest = runs(tmp_path, "latest")
    assert latest.exit_code == 2 and "no run found" in latest.output


def test_latest_is_the_run_that_was_used_last(tmp_path: Path) -> None:
    first = made(tmp_path, "ok")
    second = made(tmp_path, "ok", seed=1)
    assert runs(tmp_path, "latest").output.strip() == str(second)
    made(tmp_path, "ok")  # the first one goes on
    assert runs(tmp_path, "latest").output.strip() == str(first)
    assert find_run("latest", tmp_path).path == first


def test_a_run_is_shown_with_its_facts(tmp_path: Path) -> None:
    path = made(tmp_path, "ok", "error", mode_params={"crops": 5})
    output = runs(tmp_path, "show", "latest").output
    for fact in (path.name, "HR-Bench", '{"crops": 5}', "org/Model-4B", "1 error, 1 ok", "float32"):
        assert fact in output
    assert "strict 1" in output and "100.0" in output
    assert json.loads(runs(tmp_path, "show", "latest", "--json").output)["run_id"] == path.name


def test_a_run_is_removed_with_its_figures_once_confirmed(tmp_path: Path) -> None:
    path = made(tmp_path, *["ok"] * 4)
    kept = made(tmp_path, *["ok"] * 4, seed=1)
    refused = runs(tmp_path, "rm", str(path), answer="n\n")
    assert refused.exit_code == 1 and path.exists() and "4 samples" in refused.output
    assert runs(tmp_path, "rm", path.name[-8:], answer="y\n").exit_code == 0
    assert not path.exists() and {r["run_id"] for r in read_runs(tmp_path)} == {kept.name}
    assert runs(tmp_path, "rm", "latest", "--yes").exit_code == 0
    assert read_runs(tmp_path) == [] and not kept.exists()


def test_a_run_that_is_going_on_is_not_removed(tmp_path: Path) -> None:
    path = made(tmp_path, "ok")
    with open_folder(tmp_path):
        result = runs(tmp_path, "rm", "latest", "--yes")
    assert result.exit_code == 2 and "is being written by" in result.output
    assert path.exists() and read_runs(tmp_path)


def test_several_runs_with_one_beginning_are_listed_and_none_is_removed(tmp_path: Path) -> None:
    paths = [made(tmp_path, "ok", seed=seed) for seed in (0, 1)]
    result = runs(tmp_path, "rm", "model", "--yes")
    assert result.exit_code == 2
    assert all(path.exists() and path.name in result.output for path in paths)


@pytest.mark.parametrize("command", [["show", "latest", "4K-000"], ["score", "latest"]])
def test_other_commands_take_latest_too(tmp_path: Path, command: list[str]) -> None:
    path = made(tmp_path, "ok")
    result = CliRunner().invoke(main, [*command, "--out", str(tmp_path)])
    assert result.exit_code == 0 and path.name in result.output
