"""docs/training.md says what the code does: keys, defaults, and a configuration that can be planned."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from pathlib import Path
from typing import Any

from p2r_bench_pra_grpo.config import load_config
from p2r_bench_pra_grpo.rounds.steps import steps
from p2r_bench_pra_grpo.trainer import PRAGRPO
from pra_grpo_testing import write_interpreter, write_model, write_p2r10k

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
