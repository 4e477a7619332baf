"""docs/training.md says what the code does: keys, defaults, costs, and a configuration that can be planned."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from p2r_bench_pra_grpo.config import load_config
from p2r_bench_pra_grpo.cost import Assumptions, estimate, main, parameters_of
from p2r_bench_pra_grpo.rounds.steps import steps
from p2r_bench_pra_grpo.testing import write_interpreter, write_model, write_p2r10k
from p2r_bench_pra_grpo.trainer import PRAGRPO

from p2r_bench import UserError

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "training.md").read_text("utf-8")


def tool() -> Any:
    """tools/training_page.py, which is in no package that is installed."""
    spec = importlib.util.spec_from_file_location("page", ROOT / "tools" / "training_page.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def documented(tmp_path: Path) -> dict[str, Any]:
    """The page's configuration for four GPUs, with a model and data that are there."""
    block = next(b for b in PAGE.split("```toml\n") if b.startswith("# train.toml")).split("```")[0]
    values = tomllib.loads(block)
    values["model"] = str(write_model(tmp_path / "Qwen3-VL-4B-Instruct"))
    values["out"] = str(tmp_path / "out")
    values["data"][0]["path"] = str(write_p2r10k(tmp_path / "data"))
    values["data"][0]["images"] = str(tmp_path / "data" / "images")
    values["verl"]["python"] = str(write_interpreter(tmp_path / "python", {"verl": "0.9.1"}))
    return values


def test_the_tables_of_the_page_are_the_codes() -> None:
    assert tool().filled(PAGE) == PAGE, "run python -m tools.training_page"


def test_every_step_is_explained(tmp_path: Path) -> None:
    planned = [s.name for s in steps(load_config(documented(tmp_path)))]
    for name in planned:
        own = name.rsplit("/", 1)[1]
        assert f"`{name}`" in PAGE or ("reasoner" in name and f"`{own}`" in PAGE), name


def test_the_pages_configuration_has_a_plan_with_commands_hosts_ports_and_gpus(
    tmp_path: Path,
) -> None:
    plan = list(PRAGRPO(documented(tmp_path)).plan())
    json.dumps(plan)
    by_name = {row["step"]: row for row in plan}
    serve = by_name["round-1/perceiver/serve (reasoner)"]
    assert serve["command"][:2] == ["vllm", "serve"] and "{" not in serve["command"][2]
    assert (serve["hosts"], serve["ports"], serve["gpus"]) == (["127.0.0.1"], [8100], [2])
    assert serve["environment"] == {"CUDA_VISIBLE_DEVICES": "2"}
    assert by_name["round-1/perceiver/serve (verifier)"]["ports"] == [8101]
    train = by_name["round-1/reasoner/train"]
    assert "verl.trainer.main_ppo" in train["command"] and train["gpus"] == [0, 1]
    assert train["environment"] == {"CUDA_VISIBLE_DEVICES": "0,1"}
    assert {"round-1/perceiver/merge", "round-1/evaluate", "round-1/plot"} <= by_name.keys()
    assert by_name["round-1/reasoner/boxes"]["gpus"] == [2]
    assert "verifier:url=http://127.0.0.1:8101/v1" in by_name["round-1/evaluate"]["command"]
    assert not (tmp_path / "out").exists()


def test_costs_grow_with_the_model_and_with_longer_answers() -> None:
    def hours(preset: str, **assumed: Any) -> float:
        server = {"kind": "url", "urls": ["http://a/v1"]}
        services = {"reasoner": server, "perceiver": server}
        values = {"preset": preset, "out": "o", "data": [{"format": "synth-hr"}]}
        costs = estimate(load_config({**values, "services": services}), Assumptions(**assumed))
        return sum(cost.gpu_hours for cost in costs)

    assert hours("p2r-2b") < hours("p2r-4b") < hours("p2r-8b")
    assert hours("p2r-4b") < hours("p2r-4b", reason_tokens=1500.0)
    assert hours("p2r-4b", width=1280, height=720) < hours("p2r-4b")
    assert hours("p2r-4b", rows=5000) == pytest.approx(hours("p2r-4b") / 2, rel=0.01)


def test_costs_of_a_model_of_unknown_size_are_refused() -> None:
    with pytest.raises(UserError, match="its size is not known"):
        parameters_of("p2r-tiny")


def test_costs_are_printed_and_assumptions_checked(tmp_path: Path) -> None:
    file = tmp_path / "train.toml"
    file.write_text(
        'preset = "p2r-4b"\nout = "o"\nstages = ["baseline"]\nbackend = "embedded"\n'
        '[[data]]\nformat = "synth-hr"\n',
        "utf-8",
    )
    printed = CliRunner().invoke(main, [str(file), "--assume", "rows=640"])
    assert printed.exit_code == 0 and printed.output.splitlines()[1].split()[:3] == [
        *("baseline", "10", "5120")
    ]
    for wrong in ("row=1", "rows=many"):
        assert CliRunner().invoke(main, [str(file), "--assume", wrong]).exit_code == 2
