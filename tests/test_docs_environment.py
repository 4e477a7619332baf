"""docs/environment.md names every environment variable that the code reads or sets."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.documents import ROOT

PAGE = ROOT / "docs" / "environment.md"
MODULES = sorted(
    path
    for pattern in ("p2r_bench/**/*.py", "plugins/*/p2r_*/**/*.py", "trainers/*/p2r_*/**/*.py")
    for path in ROOT.glob(pattern)
)
NO_VARIABLES = {"FLASH_ATTN", "FLEX_ATTENTION", "TRITON_ATTN"}
"""Names of attention implementations."""
VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")


def variables(module: Path) -> set[str]:
    """Names of environment variables in a module: those with our prefix, and all where `environ` is used."""
    text = module.read_text("utf-8")
    found = {
        node.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and VARIABLE.fullmatch(node.value)
        and node.value not in NO_VARIABLES
    }
    if re.search(r"\benviron\b|\bgetenv\b|\benvvar\b", text):
        return found
    return {name for name in found if name.startswith("P2R_BENCH_")}


def test_every_variable_is_documented() -> None:
    used = {name for module in MODULES for name in variables(module)}
    assert {"P2R_BENCH_DATA", "OPENAI_BASE_URL", "HF_ENDPOINT"} <= used
    assert used - set(re.findall(r"[A-Z][A-Z0-9_]+", PAGE.read_text("utf-8"))) == set()


def test_our_own_variables_on_the_page_are_read() -> None:
    used = {name for module in MODULES for name in variables(module)}
    named = set(re.findall(r"`(P2R_BENCH_\w+)`", PAGE.read_text("utf-8")))
    assert named <= used
