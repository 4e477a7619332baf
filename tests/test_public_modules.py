"""Plugins, trainers and templates import public modules alone."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from p2r_bench import __version__
from p2r_bench.public import PUBLIC

ROOT = Path(__file__).parent.parent
PROJECTS = [
    file.parent
    for top in ("plugins", "trainers")
    for file in sorted((ROOT / top).glob("*/pyproject.toml"))
]
TEMPLATES = sorted((ROOT / "p2r_bench" / "scaffold" / "templates").rglob("*.txt"))
_IMPORT = re.compile(
    r"^\s*(?:from (p2r_bench[\w.]*) import|import (p2r_bench[\w.]*))", re.MULTILINE
)


def shipped(project: Path) -> list[Path]:
    """Python files of a distribution's package, without its tests."""
    (package,) = (path.parent for path in project.glob("p2r_bench_*/__init__.py"))
    return sorted(package.rglob("*.py"))


def core_modules(file: Path) -> Iterator[str]:
    """Modules of the core that a file imports, at the top or in functions."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "p2r_bench":
            names = [_home(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
        yield from (name for name in names if re.match(r"p2r_bench(\.|$)", name))


def _home(name: str) -> str:
    """The module that `from p2r_bench import name` reaches: the package, or a module in it."""
    folder = ROOT / "p2r_bench"
    is_module = (folder / f"{name}.py").exists() or (folder / name / "__init__.py").exists()
    return f"p2r_bench.{name}" if is_module else "p2r_bench"


@pytest.mark.parametrize("project", PROJECTS, ids=lambda p: p.name)
def test_plugins_import_public_modules_alone(project: Path) -> None:
    used = {module: file for file in shipped(project) for module in core_modules(file)}
    private = {module: str(used[module]) for module in used.keys() - PUBLIC.keys()}
    assert not private, "see p2r_bench/public.py"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_templates_import_public_modules_alone(template: Path) -> None:
    found = {one or other for one, other in _IMPORT.findall(template.read_text("utf-8"))}
    assert found <= PUBLIC.keys()


def test_the_search_finds_imports_of_private_modules(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(
        "from p2r_bench import Sample, torch_pixels\n"
        "def late():\n    from p2r_bench.run.spec import RunSpec\n    import p2r_bench.store.lock\n"
        "import p2r_bench_zoom\n"
    )
    assert set(core_modules(file)) == {
        "p2r_bench",
        "p2r_bench.torch_pixels",
        "p2r_bench.run.spec",
        "p2r_bench.store.lock",
    }


def test_public_modules_exist_and_say_what_they_are() -> None:
    for name in PUBLIC:
        assert import_module(name).__doc__, name


@pytest.mark.parametrize("project", PROJECTS, ids=lambda p: p.name)
def test_plugins_name_the_versions_of_the_core_they_fit(project: Path) -> None:
    metadata = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    (core,) = (one for one in metadata["dependencies"] if re.match(r"p2r-bench\b(?!-)", one))
    major, minor, *_ = __version__.split(".")
    assert re.search(rf">={major}\.{minor}(\.0)?,<{major}\.{int(minor) + 1}$", core)
