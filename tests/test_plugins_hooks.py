"""One test per hook, each on the example that docs/plugins/hooks.md shows for it."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import click
from click.testing import CliRunner

from p2r_bench.commands import LazyCommand
from p2r_bench.plugins import Kind, Registry, Source, load

PAGE = Path(__file__).parent.parent / "docs" / "plugins" / "hooks.md"


def example(hook: str) -> ModuleType:
    """The Python block under the hook's heading, as a module."""
    section = PAGE.read_text("utf-8").split(f"## `{hook}(")[1].split("\n## ")[0]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert code is not None
    module = ModuleType(hook)
    exec(compile(code[1], f"{PAGE.name}:{hook}", "exec"), module.__dict__)
    return module


def loaded(hook: str) -> Registry:
    registry = load([Source("example", "1.0", lambda: example(hook))])
    assert registry.failures == []
    assert registry.plugins[-1].hooks == (hook,)
    return registry


def added(hook: str, kind: Kind) -> dict[str, str]:
    return {e.name: e.target for e in loaded(hook).entries(kind) if e.distribution == "example"}


def test_register_modes() -> None:
    assert added("register_modes", "mode") == {"majority": "majority.mode:Majority"}


def test_register_tasks() -> None:
    assert added("register_tasks", "task") == {"TreeBench": "treebench.task:TreeBench"}


def test_register_judges() -> None:
    assert added("register_judges", "judge") == {"lenient": "lenient.judge:Lenient"}


def test_register_engines() -> None:
    assert added("register_engines", "engine") == {"sglang": "p2r_sglang.engine:SGLangEngine"}


def test_register_trainers() -> None:
    assert added("register_trainers", "trainer") == {"sft": "p2r_sft.trainer:Trainer"}


def test_register_families() -> None:
    assert added("register_families", "family") == {"mosaic": "mosaic.family:Mosaic"}


def test_register_commands() -> None:
    registry = loaded("register_commands")
    heatmap, attention = registry.get("command", "heatmap"), registry.get("command", "attention")
    assert heatmap == LazyCommand("heatmap.cli:command", "Draw where the perceiver looks.")
    assert isinstance(attention, click.Command)
    assert CliRunner().invoke(attention, ["some-run"]).output == "attention of some-run\n"
