"""Docstrings open with a verb in the imperative or a noun, and names use the field's words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("p2r_bench", "plugins", "trainers", "benchmarks", "tools", "tests")
MODULES = sorted(module for folder in FOLDERS for module in (ROOT / folder).rglob("*.py"))

RIDDLE = re.compile(
    r"(What|Whether|Who|Whom|Whose|How|Where|When|Why|Which|So (many|much|long)|As (many|much|long)|"
    r"That|There (is|are)|Returns whether)\b"
)
"""Openings that name a thing by a clause about it, so that the reader must guess the thing."""


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Docstrings of modules, classes and functions, and texts below the constants they describe."""
    for node in ast.walk(tree):
        body = node.body if isinstance(node, (ast.Module, *SCOPES)) else []
        for at, statement in enumerate(body):
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                described = at == 0 or isinstance(body[at - 1], (ast.Assign, ast.AnnAssign))
                if described and isinstance(statement.value.value, str):
                    yield statement.lineno, statement.value.value.strip()


SCOPES = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@pytest.mark.parametrize(
    "text",
    [
        "Whether the text holds JSON.",
        "What an engine says of itself.",
        "So many seconds at most.",
        "How often a call is repeated.",
    ],
)
def test_an_opening_that_makes_the_reader_guess_is_found(text: str) -> None:
    for source in (f'"""{text}"""', f'def f():\n    """{text}"""', f'A = 1\n"""{text}"""'):
        ((_, found),) = docstrings(ast.parse(source))
        assert RIDDLE.match(found)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.relative_to(ROOT).as_posix())
def test_docstrings_open_with_a_verb_or_a_noun(module: Path) -> None:
    tree = ast.parse(module.read_bytes())
    assert not [f"line {at}: {text}" for at, text in docstrings(tree) if RIDDLE.match(text)]
