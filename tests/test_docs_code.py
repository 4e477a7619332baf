"""Code in the documents is code that works."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import io
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from p2r_bench.errors import EngineError
from p2r_bench.judges.strict import Strict
from p2r_bench.testing import Reply, right_replies, scripted_run, solve, tiny_sample, write_bench
from p2r_bench.types import Completion, Request
from tests.documents import ROOT, Block, all_blocks, blocks

README = ROOT / "README.md"
GUIDES = ROOT / "docs" / "guides"


def block(page: Path, *, holding: str) -> Block:
    """The one Python block of a page with a text in it."""
    (found,) = (b for b in blocks(page, "python") if holding in b.text)
    return found


def executed(text: str) -> tuple[dict[str, Any], str]:
    """The names that a block defines, and what it prints."""
    names: dict[str, Any] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, "document", "exec"), names)
    return names, printed.getvalue()


@pytest.mark.parametrize("code", all_blocks("python"), ids=str)
def test_python_compiles_and_imports_what_there_is(code: Block) -> None:
    tree = compile(code.text, str(code), "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("p2r_bench"):
            module = importlib.import_module(node.module or "")
            assert not [a.name for a in node.names if not hasattr(module, a.name)]


@pytest.mark.parametrize("code", all_blocks("toml"), ids=str)
def test_toml_parses(code: Block) -> None:
    tomllib.loads(code.text)


def test_the_adapter_prints_what_the_readme_says() -> None:
    code = block(README, holding="crop_rect(box").text
    said = re.search(r"# (\(.+\))$", code, re.MULTILINE)
    assert said is not None
    assert executed(code)[1].strip() == said[1]


def test_the_readme_majority_takes_most_votes() -> None:
    majority = executed(block(README, holding="class Majority").text)[0]["Majority"]
    votes = ["<answer>B</answer>", "<answer>A</answer>", "<answer>B</answer>"]
    prediction = solve(majority(), tiny_sample(), {"perceive": "[]", "reason": votes})
    assert (prediction.answer, len(prediction.completions)) == ("B", 4)


def test_the_readme_majority_is_registered_by_its_hook() -> None:
    added: dict[str, str] = {}
    names, _ = executed(block(README, holding="def register_modes").text)
    names["register_modes"](added.__setitem__)
    assert added == {"majority": "majority.mode:Majority"}


def test_the_guide_mode_joins_the_boxes_of_both_looks() -> None:
    page = GUIDES / "a-new-method-as-a-plugin.md"
    refine = executed(block(page, holding="class Refine").text)[0]["Refine"]
    looks = [f'[{{"bbox_2d": [{x}, 100, {x + 90}, 300], "label": "it"}}]' for x in (100, 500)]
    prediction = solve(refine(), tiny_sample(), {"perceive": looks, "reason": "<answer>B</answer>"})
    assert prediction.evidence is not None
    assert [box.xyxy[0] for box in prediction.evidence.boxes] == [100, 500]
    assert prediction.answer == "B"


@pytest.mark.parametrize("answer", ["B", "A"])
def test_the_guide_reward_is_the_verdict(answer: str) -> None:
    reward = executed(block(GUIDES / "training.md", holding="def reward").text)[0]["reward"]
    sample = tiny_sample()

    async def service(request: Request) -> Completion:
        assert request.role == "reason"
        assert len(request.recipes) == 2
        return Completion(f"<answer>{answer}</answer>")

    rollout = Completion(str(right_replies(sample)["perceive"]))
    right = asyncio.run(reward(sample, rollout, service, Strict()))
    assert right == (answer == sample.answer)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Two runs of the tiny benchmark, with right, wrong and failed samples: mode to run folder."""
    folder = tmp_path_factory.mktemp("project")
    data = write_bench(folder / "data")

    def reply(request: Request) -> Reply:
        if request.sample_id.endswith("/3"):
            return EngineError("no answer in time", kind="timeout")
        return "[]" if request.role == "perceive" else "<answer>A</answer>"

    made = {
        mode: scripted_run(mode, reply, out=folder / "results", data_dir=data).path
        for mode in ("p2r", "thinking")
    }
    return {**made, "project": folder}


def printed(
    page: Path, holding: str, results: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> str:
    """Return the output of a page's block, run beside the results of `results`."""
    monkeypatch.chdir(results["project"])
    code = block(page, holding=holding).text
    for stand_in, there in {
        "RUN_ID": results["p2r"].name,
        "RUN_A": results["p2r"].name,
        "RUN_B": results["thinking"].name,
        ".demo/results": "results",
        "p2r-tiny-p2r-*": results["p2r"].name,
    }.items():
        code = code.replace(stand_in, there)
    return executed(code)[1]


def test_the_leaderboard_is_read_with_pandas(
    results: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = printed(README, "leaderboard.parquet", results, monkeypatch)
    assert "HR-Bench" in text
    assert "value" in text


def test_errors_are_counted_by_cause(
    results: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = printed(GUIDES / "four-benchmarks-overnight.md", "error_type", results, monkeypatch)
    assert re.search(r"timeout +perceive +no answer in time +1", text)


def test_errors_without_a_role_are_counted_too(
    results: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import pandas

    run = tmp_path / "results" / "runs" / results["p2r"].name
    run.mkdir(parents=True)
    samples = pandas.read_parquet(results["p2r"] / "samples.parquet")
    samples.assign(error_role=None).to_parquet(run / "samples.parquet")
    elsewhere = {**results, "project": tmp_path}
    text = printed(GUIDES / "four-benchmarks-overnight.md", "error_type", elsewhere, monkeypatch)
    assert re.search(r"timeout +(NaN|None) +no answer in time +1", text)


def test_scorers_are_compared_row_by_row(
    results: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = GUIDES / "checking-a-published-number.md"
    assert "Empty DataFrame" in printed(page, "pivot", results, monkeypatch)


def test_wrong_samples_are_listed(
    results: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = printed(GUIDES / "first-five-minutes.md", "parse_status", results, monkeypatch)
    assert "4K/1" in text and "4K/0 " not in text
