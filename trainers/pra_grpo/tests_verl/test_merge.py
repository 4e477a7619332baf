"""Shards that verl writes become a model that evaluation loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from making import TINY, config_of, stage_of
from p2r_bench_pra_grpo.backends.verl.backend import VerlBackend
from p2r_bench_pra_grpo.backends.verl.merge import LATEST, latest_step, shards
from p2r_bench_pra_grpo.backends.verl.paths import StagePaths
from p2r_bench_pra_grpo.checkpoint import load_test
from p2r_bench_pra_grpo.stage import Stage
from safetensors.torch import load_file
from shard_tiny import CHANGE

from p2r_bench.errors import UserError

SCRIPT = Path(__file__).parent / "shard_tiny.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[VerlBackend, Stage]:
    """A stage with a checkpoint of step 3, in two shards, saved by verl."""
    backend = VerlBackend(config_of(tmp_path_factory.mktemp("training")))
    stage = stage_of(backend.config, "perceiver")
    checkpoints = StagePaths.next(stage).checkpoints
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [sys.executable, *launcher, str(SCRIPT), str(TINY), str(shards(checkpoints, 3))],
        check=True,
        timeout=280,
    )
    (checkpoints / LATEST).write_text("3")
    return backend, stage


def test_the_merged_model_is_the_trained_one_and_loads(trained: tuple[VerlBackend, Stage]) -> None:
    backend, stage = trained
    assert (
        len(list(shards(StagePaths.next(stage).checkpoints, 3).glob("model_world_size_2_*"))) == 2
    )
    assert backend.merge(stage) == stage.model
    merged, start = (load_file(folder / "model.safetensors") for folder in (stage.model, TINY))
    assert merged.keys() == start.keys()
    for name, weights in start.items():
        assert torch.equal(merged[name], (CHANGE * weights.float()).to(torch.bfloat16)), name
    found = load_test(stage.model, backend.config, backend.profile)
    assert found["tokens"] > 0
    assert (stage.model / "p2r_bench.json").is_file(), "the profile's name comes along"
    assert not [path for path in stage.model.parent.iterdir() if path.name.startswith(".")]


def test_merging_again_replaces_the_model_whole(trained: tuple[VerlBackend, Stage]) -> None:
    backend, stage = trained
    (stage.model / "left-over").parent.mkdir(exist_ok=True)
    (stage.model / "left-over").touch()
    backend.merge(stage)
    assert not (stage.model / "left-over").exists()


def test_a_torn_checkpoint_leaves_the_model_as_it_was(trained: tuple[VerlBackend, Stage]) -> None:
    backend, stage = trained
    backend.merge(stage)
    before = {path.name: path.read_bytes() for path in stage.model.iterdir()}
    (shard, *_) = shards(StagePaths.next(stage).checkpoints, 3).glob("model_world_size_2_rank_1*")
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    try:
        with pytest.raises(UserError, match=r"merge\.log"):
            backend.merge(stage)
    finally:
        shard.write_bytes(whole)
    assert {path.name: path.read_bytes() for path in stage.model.iterdir()} == before


def test_a_stage_without_a_checkpoint_has_nothing_to_merge(tmp_path: Path) -> None:
    backend = VerlBackend(config_of(tmp_path))
    assert latest_step(tmp_path) is None
    with pytest.raises(UserError, match="not been trained"):
        backend.merge(stage_of(backend.config, "baseline"))
