"""docs/engines.md lists every argument, as the engines describe it."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2r_bench.engines import openai, transformers
from p2r_bench.engines.arguments import describe

PAGE = (Path(__file__).parents[2] / "docs" / "engines.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "line",
    [*describe(transformers.Arguments), *describe(openai.Arguments)],
    ids=lambda line: line.split()[0],
)
def test_an_argument_is_documented_as_it_is(line: str) -> None:
    name, _, rest = line.partition(" (")
    kind, _, help = rest.partition("): ")
    assert f"| `{name}` | {kind.replace('|', chr(92) + '|')} | {help} |" in PAGE
