"""`p2r-bench plugin new` writes packages whose tests pass."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from p2r_bench.cli import main
from p2r_bench.errors import UserError
from p2r_bench.scaffold import KINDS, Kind, Skeleton


def new(*args: str) -> Result:
    return CliRunner().invoke(main, ["plugin", "new", *args])


@pytest.mark.parametrize("kind", KINDS)
def test_tests_of_a_new_plugin_pass(kind: Kind, tmp_path: Path) -> None:
    folder = Skeleton("first-try", kind).write(tmp_path)
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "skipped" not in tested.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_code_of_a_new_plugin_is_clean(kind: Kind, tmp_path: Path) -> None:
    folder = Skeleton("first-try", kind).write(tmp_path)
    rules = ("--isolated", "--select", "E,F,I,UP,B", "--ignore", "E501", "--no-cache")
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *rules, "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_the_command_says_what_to_do_next(tmp_path: Path) -> None:
    result = new("tree-bench", "--kind", "task", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    folder = tmp_path / "p2r-bench-tree-bench"
    assert f"cd {folder}" in result.output
    assert "p2r-bench run --tasks tree-bench" in result.output
    written = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert written == [
        "README.md",
        "pyproject.toml",
        "tests/test_tree_bench.py",
        "tree_bench/__init__.py",
        "tree_bench/task.py",
    ]


def test_metadata_has_the_entry_point(tmp_path: Path) -> None:
    metadata = tomllib.loads(Skeleton("Tree-Bench", "task").files()["pyproject.toml"])
    assert metadata["project"]["name"] == "p2r-bench-tree-bench"
    assert metadata["project"]["entry-points"] == {"p2r_bench": {"tree_bench": "tree_bench"}}
    assert metadata["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["tree_bench"]


@pytest.mark.parametrize(
    ("name", "distribution", "package", "class_name"),
    [
        ("majority", "p2r-bench-majority", "majority", "Majority"),
        ("TreeBench", "p2r-bench-treebench", "treebench", "TreeBench"),
        ("V-Star2", "p2r-bench-v-star2", "v_star2", "VStar2"),
        ("p2r-bench-zoom", "p2r-bench-zoom", "p2r_bench_zoom", "P2rBenchZoom"),
        ("my_mode.v2", "p2r-bench-my-mode-v2", "my_mode_v2", "MyModeV2"),
    ],
)
def test_names_follow_from_the_name(
    name: str, distribution: str, package: str, class_name: str
) -> None:
    skeleton = Skeleton(name, "mode")
    assert (skeleton.distribution, skeleton.package, skeleton.class_name) == (
        distribution,
        package,
        class_name,
    )


@pytest.mark.parametrize(
    "name", ["", "1st", "a b", "a/b", "-x", "a--b", "json", "class", "p2r_bench", "tests", "été"]
)
def test_name_that_makes_no_package_is_refused(name: str) -> None:
    with pytest.raises(UserError):
        Skeleton(name, "mode")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    assert new("majority", "--kind", "mode", "--out", str(tmp_path)).exit_code == 0
    module = tmp_path / "p2r-bench-majority" / "majority" / "mode.py"
    module.write_text("mine", "utf-8")
    again = new("majority", "--kind", "mode", "--out", str(tmp_path))
    assert again.exit_code == 2 and "is not empty" in again.output
    assert module.read_text("utf-8") == "mine"


def test_unwritable_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    result = new("majority", "--kind", "mode", "--out", str(tmp_path / "file" / "below"))
    assert result.exit_code == 2 and "Traceback" not in result.output
