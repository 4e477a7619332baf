"""The code of the plugin guide is code that runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from p2r_bench import testing
from p2r_bench.scaffold import KINDS, Skeleton

FOLDER = Path(__file__).parent.parent / "docs" / "plugins"
TUTORIAL = (FOLDER / "tutorial.md").read_text("utf-8")
TESTING = (FOLDER / "testing.md").read_text("utf-8")
MADE = re.findall(r"^\$ p2r-bench plugin new (\S+) --kind (\S+)$", TUTORIAL, re.MULTILINE)


def test_the_tutorial_builds_one_of_each_kind() -> None:
    assert [kind for _, kind in MADE] == list(KINDS)


@pytest.mark.parametrize(("name", "kind"), MADE)
def test_the_tutorial_shows_what_plugin_new_writes(name: str, kind: str) -> None:
    files = Skeleton(name, kind).files()  # type: ignore[arg-type]
    chapter = TUTORIAL.split(f"`{name}`\n\n```\n$ p2r-bench plugin new")[1].split("\n## ")[0]
    shown = dict(re.findall(r"^`(\S+)`\n\n```\w+\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL))
    assert {path for path in files if path.endswith((f"{kind}.py", f"test_{name}.py"))} <= set(
        shown
    )
    assert {path: files[path] for path in shown} == shown


def test_the_code_of_the_testing_guide_passes(tmp_path: Path) -> None:
    folder = Skeleton("majority", "mode").write(tmp_path)
    (folder / "conftest.py").write_text('pytest_plugins = "p2r_bench.testing"\n', "utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", TESTING, re.MULTILINE | re.DOTALL)
    (folder / "tests" / "test_majority.py").write_text("\n\n".join(blocks), "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    tested = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("name", testing.__all__)
def test_what_helps_to_test_is_documented(name: str) -> None:
    assert f"`{name}" in TESTING


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda page: page.name)
def test_links_of_the_plugin_guide_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target
