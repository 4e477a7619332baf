"""The mode that shows how short a third party's package can be works as it is written."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from p2r_bench.scaffold import Skeleton
from p2r_bench.testing import ModeContract, Script, solve, tiny_sample

HOOKS = """
from p2r_bench import hookimpl

@hookimpl
def register_modes(register):
    register("majority", "majority.mode:Majority")
"""
MODE = '''
from collections import Counter
from p2r_bench import Prediction, TwoStage

class Majority:
    """p2r with three samples of the reasoner: the answer most of them give."""

    async def solve(self, sample, ask, profile):
        two = TwoStage(profile)
        look = await ask(two.perceive_request(sample))
        evidence = two.evidence(sample, look.text)
        votes = [await ask(two.reason_request(sample, evidence, temperature=0.7, seed=i)) for i in range(3)]
        answers = Counter(a for v in votes if (a := two.answer(v.text)) is not None)
        answer = answers.most_common(1)[0][0] if answers else None
        return Prediction(sample.id, answer=answer, evidence=evidence, completions=(look, *votes))
'''


@pytest.fixture
def majority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The package, imported from a folder."""
    package = tmp_path / "majority"
    package.mkdir()
    (package / "__init__.py").write_text(HOOKS, "utf-8")
    (package / "mode.py").write_text(MODE, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "majority"]:
        monkeypatch.delitem(sys.modules, name)
    return import_module("majority")


class TestMajority(ModeContract):
    mode = "majority"

    @pytest.fixture(autouse=True)
    def installed(self, majority: ModuleType) -> None:
        self.plugin = majority


def test_it_asks_once_to_perceive_and_three_times_to_reason(majority: ModuleType) -> None:
    script = Script({"perceive": "[]", "reason": [f"<answer>{vote}</answer>" for vote in "CAC"]})
    mode = import_module("majority.mode").Majority()
    prediction = solve(mode, tiny_sample(), script)
    assert prediction.answer == "C"
    assert [r.role for r in script.requests] == ["perceive", "reason", "reason", "reason"]
    assert [r.sampling.seed for r in script.requests[1:]] == [0, 1, 2]
    assert {r.sampling.temperature for r in script.requests[1:]} == {0.7}


def test_a_new_plugin_of_that_name_is_this_package() -> None:
    files = Skeleton("majority", "mode").files()
    assert _lines(files["majority/__init__.py"]) == _lines(HOOKS)
    assert _lines(files["majority/mode.py"]) == _lines(MODE)


def _lines(code: str) -> list[str]:
    return [line for line in code.splitlines() if line]
