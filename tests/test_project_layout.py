"""Dependencies point one way: cli → session → run → {modes, engines, tasks, judges, store} → adapter → families → types."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest

import p2r_bench

PACKAGE = Path(p2r_bench.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

FOUNDATION = {"types", "optional", "errors", "atomic", "redaction"}
PARTS = {"modes", "engines", "tasks", "judges", "store"}
MAY_IMPORT: dict[str, set[str]] = {
    "types": set(),
    "optional": {"types"},
    "errors": set(),
    "terminal": set(),
    "atomic": {"errors"},
    "redaction": {"errors"},
    "validation": {"errors"},
    "http": {"errors", "redaction"},
    "hub": FOUNDATION,
    "families": FOUNDATION | {"plugins"},
    "adapter": FOUNDATION | {"families"},
    "stats": FOUNDATION,
    "synth": FOUNDATION | {"adapter"},
    "modes": FOUNDATION | {"adapter"},
    "engines": FOUNDATION | {"adapter", "families", "bundled", "http", "hub", "validation"},
    "judges": FOUNDATION | {"adapter", "http", "plugins"},
    "tasks": FOUNDATION | {"adapter", "stats", "synth", "hub"},
    "store": FOUNDATION | {"adapter", "stats"},
    "bundled": FOUNDATION | {"adapter"},
    "report": FOUNDATION | {"adapter", "store", "stats", "tasks"},
    "torch_pixels": FOUNDATION,
    "hookspecs": set(),
    "commands": FOUNDATION,
    "builtin": {"hookspecs", "commands"},
    "plugins": FOUNDATION | {"hookspecs", "commands", "builtin"},
    "run": FOUNDATION | PARTS
    | {"adapter", "families", "stats", "bundled", "plugins", "terminal", "validation"},
    "session": FOUNDATION | {"run"},
    "public": set(),
    "models": {"bundled", "engines"},
    "images": {"run"},
    "scaffold": FOUNDATION,
    "cli": FOUNDATION | PARTS
    | {"adapter", "stats", "synth", "bundled", "report", "commands", "hookspecs", "plugins", "run"}
    | {"scaffold", "session", "terminal"},
    "testing": FOUNDATION | PARTS | {"adapter", "families", "plugins", "run"},
}  # fmt: skip
"""Part of the package to the parts it may import; all may import the package itself."""


def part_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from runtime_nodes(child)


def imports(module: Path) -> Iterator[str]:
    """Dotted names of the modules that a file imports when it runs, at the top or in functions."""
    for node in runtime_nodes(ast.parse(module.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide the arrows"
            submodules = [f"{node.module}.{a.name}" for a in node.names]
            yield from submodules if node.module == "p2r_bench" else [str(node.module)]


def third_party(module: Path) -> set[str]:
    return {i.split(".")[0] for i in imports(module)} - sys.stdlib_module_names - {"p2r_bench"}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(module: Path) -> None:
    part = part_of(module)
    if part in ("__init__", "__main__"):
        return
    assert part in MAY_IMPORT, f"{part} is no part of the layout"
    known = {part_of(m) for m in MODULES}
    used = {i.split(".")[1] for i in imports(module) if i.startswith("p2r_bench.")} & known
    assert used - {part, "__init__"} <= MAY_IMPORT[part]


@pytest.mark.parametrize("part", ["adapter", "types", "errors"])
def test_the_adapter_needs_pillow_and_the_standard_library_only(part: str) -> None:
    used = {name for module in MODULES if part_of(module) == part for name in third_party(module)}
    assert used <= {"PIL"}


def test_every_import_is_declared_in_the_package_metadata() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    declared = {_normal(re.split(r"[^\w.-]", line)[0]) for line in lines}
    homes = metadata.packages_distributions()
    for module in MODULES:
        for name in third_party(module):
            assert {_normal(d) for d in homes.get(name, [name])} & declared, f"{module}: {name}"


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_no_module_is_a_dumping_ground() -> None:
    assert not [m for m in MODULES if m.stem in ("utils", "util", "helpers", "misc", "common")]
