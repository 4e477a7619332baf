"""Nothing that this repository ships evaluates or unpickles data."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(
    path
    for folder in ("p2r_bench", "plugins", "trainers")
    for path in (ROOT / folder).rglob("*.py")
    if not {"tests", "tests_verl", "testing"} & set(path.relative_to(ROOT).parts)
)
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "os.system",
    "os.popen",
    "yaml.load",
    "yaml.unsafe_load",
}


def unsafe(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
                yield str(node.module)
        elif isinstance(node, ast.Call):
            name, named = ast.unparse(node.func), {k.arg: k.value for k in node.keywords}
            if name in FORBIDDEN_CALLS:
                yield name
            if name.endswith("torch.load") and not _is(named.get("weights_only"), True):
                yield f"{name} without weights_only"
            if _is(named.get("trust_remote_code"), True):
                yield "trust_remote_code=True"
            if _is(named.get("shell"), True):
                yield "shell=True"
            if _is(named.get("allow_pickle"), True):
                yield "allow_pickle=True"


def _is(node: ast.AST | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_evaluates_or_unpickles(path: Path) -> None:
    assert list(unsafe(ast.parse(path.read_bytes()))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from dill import loads",
        "eval(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "subprocess.run(text, shell=True)",
        "numpy.load(path, allow_pickle=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(code: str) -> None:
    assert list(unsafe(ast.parse(code)))
