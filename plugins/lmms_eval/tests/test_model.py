"""p2r-bench's modes as a model of lmms-eval: nothing is lost, and no failure becomes a letter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lmms_eval.models import get_model
from loguru import logger
from p2r_bench_lmms_eval.model import DocumentsFailed, P2RDefault, P2RThinking
from scripted import Scripted

from p2r_bench import EngineError, Request, UserError
from p2r_bench.store.reader import RunReader

Load = Callable[[str], Any]


def requests(load: Load, name: str, repeats: int = 1) -> list[Any]:
    task = load(name)
    task.build_all_requests()
    return [request for request in task.instances for _ in range(repeats)]


def answers(model: Any, asked: list[Any]) -> list[str]:
    return [result.text for result in model.generate_until(asked)]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    return Scripted.installed(monkeypatch)


def model(tmp_path: Path, **args: Any) -> Any:
    return get_model("p2r")(
        engine="scripted", profile="tiny", trace=str(tmp_path / "trace"), **args
    )


def test_lmms_eval_finds_the_models_by_name() -> None:
    assert (get_model("p2r_default"), get_model("p2r_thinking")) == (P2RDefault, P2RThinking)


def test_the_answer_between_the_tags_is_what_scorers_get(
    load: Load, tmp_path: Path, engine: Scripted
) -> None:
    engine.reply = lambda r: "[]" if r.role == "perceive" else "<think>B?</think><answer>C</answer>"
    assert answers(model(tmp_path), requests(load, "vstar_local")) == ["C"] * 4


def test_no_answer_is_z(load: Load, tmp_path: Path, engine: Scripted) -> None:
    engine.reply = lambda r: "[]" if r.role == "perceive" else "I cannot tell: A or B"
    assert answers(model(tmp_path), requests(load, "vstar_local")) == ["Z"] * 4


def test_tokens_of_all_calls_are_counted(load: Load, tmp_path: Path, engine: Scripted) -> None:
    (result, *_) = model(tmp_path).generate_until(requests(load, "vstar_local"))
    (run,) = (tmp_path / "trace" / "runs").iterdir()
    row, _ = RunReader(run).find("0")
    look, thought = row["stages"]
    assert min(look["prompt_tokens"], thought["prompt_tokens"], look["output_tokens"]) > 0
    assert result.token_counts.to_dict() == {
        "input_tokens": look["prompt_tokens"] + thought["prompt_tokens"],
        "output_tokens": look["output_tokens"] + thought["output_tokens"],
    }


def test_a_failed_document_fails_the_run_and_the_same_command_does_only_that_one(
    load: Load, tmp_path: Path, engine: Scripted
) -> None:
    def broken(request: Request) -> str:
        if request.sample_id == "2" and request.role == "reason":
            raise EngineError("the server is gone", kind="http_503")
        return Scripted.by_role(request)

    engine.reply = broken
    with pytest.raises(
        DocumentsFailed, match="vstar_local, document 2: http_503: the server is gone"
    ):
        model(tmp_path).generate_until(requests(load, "vstar_local"))
    assert len(engine.requests) == 8
    engine.reply = Scripted.by_role
    assert answers(model(tmp_path), requests(load, "vstar_local")) == ["A"] * 4
    assert [r.sample_id for r in engine.requests[8:]] == ["2", "2"]


def test_a_changed_profile_mode_or_seed_reuses_nothing(
    load: Load, tmp_path: Path, engine: Scripted
) -> None:
    asked = requests(load, "vstar_local")
    for args in ({}, {"mode": "thinking"}, {"seed": 5}, {"profile": "p2r"}):
        before = len(engine.requests)
        settings = {"engine": "scripted", "profile": "tiny", "trace": str(tmp_path), **args}
        get_model("p2r")(**settings).generate_until(asked)
        assert len(engine.requests) > before
        before = len(engine.requests)
        get_model("p2r")(**settings).generate_until(asked)
        assert len(engine.requests) == before


def test_boxes_and_texts_of_both_stages_are_traced(
    load: Load, tmp_path: Path, engine: Scripted
) -> None:
    model(tmp_path).generate_until(requests(load, "vstar_local"))
    (run,) = (tmp_path / "trace" / "runs").iterdir()
    rows = [row for row, _ in RunReader(run).outcomes()]
    assert [row["sample_id"] for row in rows] == ["0", "1", "2", "3"]
    for row in rows:
        assert [stage["role"] for stage in row["stages"]] == ["perceive", "reason"]
        assert row["boxes"][0]["label"] == "sign" and len(row["crops"]) == 1


def test_repeats_are_drawn_with_other_seeds(load: Load, tmp_path: Path, engine: Scripted) -> None:
    model(tmp_path).generate_until(requests(load, "vstar_local", repeats=2))
    seeds = {
        r.sampling.seed for r in engine.requests if r.role == "perceive" and r.sample_id == "0"
    }
    assert len(seeds) == 2


def test_any_registered_mode_runs_by_name(load: Load, tmp_path: Path, engine: Scripted) -> None:
    asked = requests(load, "vstar_local")
    model(tmp_path, mode="oracle").generate_until(asked)
    assert {request.role for request in engine.requests} == {"reason"}
    with pytest.raises(UserError, match="no mode is called 'p2q'"):
        model(tmp_path, mode="p2q")


def test_documents_that_a_mode_does_not_apply_to_fail_the_run(
    load: Load, tmp_path: Path, engine: Scripted
) -> None:
    with pytest.raises(DocumentsFailed, match="document 0: the mode does not apply to it"):
        model(tmp_path, mode="oracle").generate_until(requests(load, "colours"))


def test_a_token_cap_that_cuts_reasoning_is_replaced_and_said_so(
    load: Load, tmp_path: Path, engine: Scripted
) -> None:
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(str(message)), format="{message}")
    try:
        model(tmp_path).generate_until(requests(load, "vstar_local"))
    finally:
        logger.remove(sink)
    (line,) = [line for line in lines if "cap of" in line]
    assert line.startswith("vstar_local: its cap of 16 tokens")
    assert min(request.sampling.max_tokens for request in engine.requests) > 16


def test_several_tasks_of_one_call_are_worked_on_together(
    load: Load, tmp_path: Path, engine: Scripted
) -> None:
    asked = requests(load, "vstar_local") + requests(load, "colours")
    assert len(answers(model(tmp_path), asked)) == 8
    runs = [
        json.loads((p / "manifest.json").read_text()) for p in (tmp_path / "trace/runs").iterdir()
    ]
    assert {run["identity"]["task"] for run in runs} == {"lmms:vstar_local", "lmms:colours"}


def test_roles_and_modes_take_arguments_of_their_own(
    load: Load, tmp_path: Path, engine: Scripted
) -> None:
    args = {"perceive.model": "sharp-eyes", "places": 2}
    model(tmp_path, model="thinker", **args).generate_until(requests(load, "vstar_local"))
    assert {engine.models[r.role] for r in engine.requests} == {"sharp-eyes", "thinker"}
    with pytest.raises(UserError, match="no role 'draw'"):
        model(tmp_path, **{"draw.model": "x"})


def test_more_than_one_process_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="runs in one process"):
        model(tmp_path)
