"""Every hook is documented with its exact signature and has a test of its own name."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from p2r_bench import hookspecs

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "plugins" / "hooks.md").read_text("utf-8")
HOOKS = {
    n: f
    for n, f in vars(hookspecs).items()
    if inspect.isfunction(f) and hasattr(f, "p2r_bench_spec")
}


def test_there_are_the_seven_hooks() -> None:
    kinds = ("modes", "tasks", "judges", "engines", "trainers", "families", "commands")
    assert list(HOOKS) == [f"register_{kind}" for kind in kinds]


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_documented_with_its_exact_signature(hook: str) -> None:
    parameters = ", ".join(inspect.signature(HOOKS[hook]).parameters)
    assert f"## `{hook}({parameters})`\n" in PAGE


def test_no_hook_is_documented_that_does_not_exist() -> None:
    assert re.findall(r"^## `(\w+)\(", PAGE, re.MULTILINE) == list(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_has_a_test_of_its_own_name(hook: str) -> None:
    tree = ast.parse((ROOT / "tests" / "test_plugins_hooks.py").read_bytes())
    assert f"test_{hook}" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_has_one_line_of_docstring(hook: str) -> None:
    assert HOOKS[hook].__doc__ and "\n" not in HOOKS[hook].__doc__


def test_the_page_tells_the_version_of_the_hooks() -> None:
    assert re.search(rf"version\s+{hookspecs.HOOKS_VERSION};", PAGE)
