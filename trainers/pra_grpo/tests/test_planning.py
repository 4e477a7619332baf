"""A dry run prints what would run, and refuses what cannot work."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from p2r_bench_pra_grpo.backends.verl.backend import VerlBackend
from p2r_bench_pra_grpo.backends.verl.installed import installed
from p2r_bench_pra_grpo.backends.verl.merge import LATEST, merge, shards
from p2r_bench_pra_grpo.backends.verl.paths import StagePaths
from p2r_bench_pra_grpo.config import load_config
from p2r_bench_pra_grpo.data.load import load_samples
from p2r_bench_pra_grpo.rounds.evaluation import evaluate_model
from p2r_bench_pra_grpo.rounds.steps import stages
from p2r_bench_pra_grpo.trainer import PRAGRPO
from pra_grpo_testing import tiny_training, write_interpreter, write_model

from p2r_bench import UserError
from p2r_bench import session as api
from p2r_bench.cli.run import command as run_command
from p2r_bench.run.spec import RunSpec
from p2r_bench.run.sweep import specs_of

SERVER = {"kind": "start", "command": ["serve", "{model}"]}
ELSEWHERE = {"kind": "url", "urls": ["http://gpu-box:8000/v1"]}


def planned(values: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {row["step"]: row for row in PRAGRPO(values).plan()}


def in_text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: in_text(item) for key, item in value.items()}
    return str(value)


class Asked(Exception):
    """Carries what an evaluation was asked for, in the place of doing it."""


@pytest.mark.parametrize(
    ("model", "number"), [("some/model", 0), ("some/model", 1), ("p2r-tiny-base", 0)]
)
def test_the_planned_evaluation_is_the_one_that_runs(
    model: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {
        "tasks": ["HR-Bench", "Synth-HR"],
        "modes": ["p2r", "default"],
        "engine_args": {"dtype": "float32", "verbose": True},
        "task_params": {"rows": 8},
        "limit": 4,
        "seed": 3,
        "scorer": "original",
    }
    verifier = {**ELSEWHERE, "model": "qwen"}
    values = tiny_training(tmp_path, model=model, judges={"numeric": {"tolerance": 0.1}})
    values |= {"revision": "v1" if "/" in model else None}
    values["services"] = {**values["services"], "verifier": verifier}
    values["evaluation"] = {**values["evaluation"], **wanted}
    config = load_config(values)

    def asked(specs: Sequence[RunSpec], progress: object) -> None:
        raise Asked(specs)

    monkeypatch.setattr(api, "run_all", asked)
    row = planned(values)[f"round-{number}/evaluate"]
    own = str(config.out.resolve() / "round-1" / "reasoner" / "model") if number else model
    with pytest.raises(Asked) as caught:
        evaluate_model(config, own)
    given = run_command.make_context("run", list(row["command"][2:])).params
    for key in ("config", "dry_run", "quiet", "as_json"):
        given.pop(key)
    printed = [in_text(asdict(spec)) for spec in specs_of(given)]
    assert printed == [in_text(asdict(spec)) for spec in caught.value.args[0]]


def test_every_step_that_runs_a_model_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    values = tiny_training(tmp_path)
    values["services"] = {**values["services"], "perceiver": ELSEWHERE}
    steps = planned(values)
    here = ("round-0/evaluate", "round-1/perceiver/serve (reasoner)", "round-1/reasoner/load-test")
    for name in here:
        assert (steps[name]["hosts"], steps[name]["gpus"]) == (["localhost"], "4,5"), name
    assert steps["round-1/reasoner/boxes"]["hosts"] == ELSEWHERE["urls"]
    on_cpu = {**values["evaluation"], "engine_args": {"device": "cpu"}}
    assert planned({**values, "evaluation": on_cpu})["round-1/evaluate"]["gpus"] is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "no/such/folder"}, "no/such/folder: neither a folder nor a hub id"),
        ({"data": [{"format": "p2r-10k", "path": "gone"}]}, r"data\[0\].path: gone does not exist"),
        ({"data": [{"format": "p2r-10k", "path": "empty"}]}, "no parquet file there"),
        (
            {"data": [{"format": "synth-hr", "path": "gone"}]},
            r"data\[0\].path: gone does not exist",
        ),
        ({"evaluation": {"data_dir": "gone"}}, "evaluation.data_dir: gone is no folder"),
    ],
)
def test_what_is_not_there_is_refused(
    changes: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    values = tiny_training(tmp_path, **changes)
    with pytest.raises(UserError, match=said):
        PRAGRPO(values).plan()
    assert not (tmp_path / "out").exists()


def on_verl(folder: Path, versions: Mapping[str, str], **changes: Any) -> dict[str, Any]:
    """A training with verl, in whose environment these packages are."""
    python = str(write_interpreter(folder / "python", versions))
    values = tiny_training(folder, backend="verl", verl={"python": python, "gpus_per_node": 2})
    values["services"] = {"reasoner": ELSEWHERE, "perceiver": ELSEWHERE}
    return {**values, **changes}


@pytest.mark.parametrize(
    ("versions", "packed"),
    [({"verl": "0.9.1"}, False), ({"verl": "0.9.1", "flash-attn": "2.8.3"}, True)],
)
def test_sequences_are_packed_where_verls_environment_has_flash_attn(
    versions: dict[str, str], packed: bool, tmp_path: Path
) -> None:
    train = planned(on_verl(tmp_path, versions))["round-1/perceiver/train"]
    said = f"actor_rollout_ref.model.use_remove_padding={str(packed).lower()}"
    assert said in train["command"]
    assert ("packed" if packed else "padded") in train["does"]


def test_verl_that_is_not_installed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"python: verl is not installed there"):
        PRAGRPO(on_verl(tmp_path, {"torch": "2.13"})).plan()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("actor_rollout_ref.actor.freeze_vision_tower=true", "no code of verl 0.9.1 reads it"),
        ("actor_rollout_ref.actor={freeze_vision_tower: true}", "no code of verl 0.9.1 reads it"),
        ("algorithm.filter_groups.enable=true", "does not hand it to a custom sampler"),
        ("+algorithm.filter_groups={enable: true, metric: reward}", "to a custom sampler"),
        ("actor_rollout_ref.model.lora_rank=16", "merges the untrained base weights"),
        ("++actor_rollout_ref.model.lora.rank=16", "merges the untrained base weights"),
        ("actor_rollout_ref.model.lora_adapter_path='/a'", "merges the untrained base weights"),
    ],
)
def test_overrides_that_verl_would_ignore_or_misapply_are_refused(
    override: str, said: str, tmp_path: Path
) -> None:
    values = on_verl(tmp_path, {"verl": "0.9.1"})
    values["verl"]["overrides"] = [override]
    with pytest.raises(UserError, match=said):
        PRAGRPO(values)


def test_overrides_that_switch_those_off_are_let_through(tmp_path: Path) -> None:
    values = on_verl(tmp_path, {"verl": "0.9.1"})
    own = ["actor_rollout_ref.model.lora_rank=0", "algorithm.filter_groups.enable=false"]
    values["verl"]["overrides"] = own
    assert planned(values)["round-1/perceiver/train"]["command"][-4:-2] == own


def test_freezing_the_vision_tower_is_refused_as_verl_does_not_do_it(tmp_path: Path) -> None:
    values = on_verl(tmp_path, {"verl": "0.9.1"})
    values["verl"]["freeze_vision"] = True
    with pytest.raises(UserError, match=r"verl\.freeze_vision: .* trains the vision tower"):
        PRAGRPO(values)


def test_a_stage_is_resumed_on_as_many_gpus_as_wrote_its_checkpoint(tmp_path: Path) -> None:
    config = load_config(on_verl(tmp_path, {"verl": "0.9.1"}, stages=["baseline"]))
    stage = next(stages(config))
    checkpoints = StagePaths.next(stage).checkpoints
    for rank in range(4):
        shard = shards(checkpoints, 1) / f"model_world_size_4_rank_{rank}.pt"
        shard.parent.mkdir(parents=True, exist_ok=True)
        shard.touch()
    (checkpoints / LATEST).write_text("1")
    with pytest.raises(UserError, match=r"written by 4 GPUs, and .* is 2"):
        VerlBackend(config).train(stage, load_samples(config), None, lambda row: None)


def test_base_weights_beside_an_adapter_are_no_merged_model(tmp_path: Path) -> None:
    merger = tmp_path / "python"
    merger.write_text(
        "#!/bin/sh\nfor last; do :; done\nmkdir -p $last/lora_adapter\ntouch $last/a.safetensors\n"
    )
    merger.chmod(0o755)
    target = tmp_path / "model"
    with pytest.raises(UserError, match="merged the base weights without it"):
        merge(str(merger), tmp_path, target, write_model(tmp_path / "start"), tmp_path / "log")
    assert not target.exists()


def test_an_interpreter_that_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"verl\.python: .*/gone cannot be run"):
        installed(str(tmp_path / "gone"), {})
    lacking = tmp_path / "lacking"
    lacking.write_text("#!/bin/sh\necho No module named p2r_bench_pra_grpo >&2; exit 1\n")
    lacking.chmod(0o755)
    with pytest.raises(UserError, match=r"cannot import .* \(No module named p2r_bench_pra_grpo\)"):
        installed(str(lacking), {})


def test_versions_are_those_that_the_interpreter_finds_with_its_own_variables(
    tmp_path: Path,
) -> None:
    package = tmp_path / "flash_attn-2.8.3.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: flash-attn\nVersion: 2.8.3\n")
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    found = installed(sys.executable, {"PYTHONPATH": path})
    assert found["flash-attn"] == "2.8.3"


def test_a_hub_id_stands_in_the_plan_as_it_is(tmp_path: Path) -> None:
    values = on_verl(tmp_path, {"verl": "0.9.1"}, model="Qwen/Qwen3-VL-4B-Instruct")
    train = planned(values)["round-1/perceiver/train"]
    assert "actor_rollout_ref.model.path=Qwen/Qwen3-VL-4B-Instruct" in train["command"]


@pytest.mark.parametrize(
    ("gpus", "services", "said"),
    [
        ([0, 1], {"reasoner": {**SERVER, "gpus": [1, 2]}}, r"verl\.gpus: \[1\] are services\.reas"),
        ([], {"reasoner": {**SERVER, "gpus": [2]}}, r"verl\.gpus: missing; services\.reasoner"),
        (
            [0, 1],
            {"verifier": {**SERVER, "model": "v", "port": 8101, "gpus": [0]}},
            r"verl\.gpus: \[0\] are services\.verifier",
        ),
        ([0, 1], {"perceiver": {**SERVER, "gpus": [0]}}, None),  # stopped before training
        ([0, 1], {"reasoner": {**SERVER, "gpus": [2]}}, None),
    ],
)
def test_what_runs_beside_verl_needs_gpus_of_its_own(
    gpus: list[int], services: dict[str, Any], said: str | None, tmp_path: Path
) -> None:
    values = on_verl(tmp_path, {"verl": "0.9.1"})
    values["services"] |= services
    values["verl"]["gpus"] = gpus
    if said is None:
        assert PRAGRPO(values).plan()
        return
    with pytest.raises(UserError, match=said):
        PRAGRPO(values)
    elsewhere = {**values["verl"], "ray_address": "10.0.0.1:6379"}
    assert PRAGRPO({**values, "verl": elsewhere}).plan()


def test_the_verifier_needs_a_port_of_its_own_and_the_frozen_models_share_one(
    tmp_path: Path,
) -> None:
    verifier = {**SERVER, "model": "v", "port": 8101}
    services = {"reasoner": SERVER, "perceiver": SERVER, "verifier": verifier}
    assert PRAGRPO(tiny_training(tmp_path, services=services)).plan()
    services["verifier"] = {**verifier, "port": 8100}
    with pytest.raises(UserError, match=r"services\.verifier\.port = 8100: services\.reasoner"):
        PRAGRPO(tiny_training(tmp_path, services=services))
    only = tiny_training(tmp_path, services=services, stages=["baseline"])
    assert PRAGRPO(only).plan()
