"""verl itself composes and validates what a stage's overrides say."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
from making import URL, config_of, stage_of, verl_config
from omegaconf import OmegaConf
from p2r_bench_pra_grpo.backends.verl.backend import VerlBackend
from p2r_bench_pra_grpo.backends.verl.overrides import written
from p2r_bench_pra_grpo.backends.verl.paths import StagePaths
from p2r_bench_pra_grpo.config import load_config
from p2r_bench_pra_grpo.preset_files import preset_names
from p2r_bench_pra_grpo.stage import StageRole
from verl.trainer.constants_ppo import get_ppo_ray_runtime_env
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config

from p2r_bench.errors import UserError

ROLES = get_args(StageRole)
PRESETS = ("p2r-2b", "p2r-4b", "p2r-8b")


def composed(config: Any, role: StageRole, *extra: str) -> Any:
    backend, stage = VerlBackend(config), stage_of(config, role)
    return verl_config(backend, stage, StagePaths.next(stage), extra)


def preset(name: str, out: Path, **values: Any) -> Any:
    services = {"services": {"reasoner": URL, "perceiver": URL}}
    data = {"data": [{"format": "synth-hr"}]}
    return load_config({"preset": name, "out": str(out), **services, **data, **values})


def test_there_are_presets_of_all_three_sizes() -> None:
    assert set(PRESETS) <= set(preset_names())


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("role", ROLES)
def test_verl_accepts_every_role_at_every_size(name: str, role: StageRole, tmp_path: Path) -> None:
    config = preset(name, tmp_path)
    told = composed(config, role)
    validate_config(told, need_reference_policy(told), need_critic(told))
    OmegaConf.to_container(told, resolve=True)
    assert not need_critic(told)
    assert need_reference_policy(told), "the KL term needs the stage's start as its reference"


def test_hyper_parameters_arrive_where_verl_reads_them(tmp_path: Path) -> None:
    told = composed(preset("p2r-4b", tmp_path), "perceiver")
    actor, rollout = told.actor_rollout_ref.actor, told.actor_rollout_ref.rollout
    assert (told.algorithm.adv_estimator, rollout.n, told.data.train_batch_size) == ("grpo", 8, 64)
    assert (actor.optim.lr, actor.kl_loss_coef, actor.kl_loss_type) == (1e-6, 0.01, "low_var_kl")
    assert (actor.clip_ratio, actor.entropy_coeff, actor.loss_agg_mode) == (0.2, 0, "token-mean")
    assert (rollout.temperature, rollout.top_p) == (1.0, 1.0)
    assert told.data.image_patch_size == 16
    assert rollout.engine_kwargs.vllm.limit_mm_per_prompt == {"image": 4, "video": 0}


@pytest.mark.parametrize(
    ("role", "limits"), [("perceiver", (2560, 1024)), ("reasoner", (8704, 2048))]
)
def test_the_published_profile_gives_the_published_limits(
    role: StageRole, limits: tuple[int, int], tmp_path: Path
) -> None:
    told = composed(preset("p2r-4b", tmp_path, profile="original-train-rollout"), role)
    assert (told.data.max_prompt_length, told.data.max_response_length) == limits
    assert told.actor_rollout_ref.rollout.max_model_len == sum(limits)


def test_stages_never_share_a_folder_that_verl_resumes_from(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    folders = {composed(config, role).trainer.default_local_dir for role in ROLES}
    assert len(folders) == len(ROLES)
    assert all(Path(folder).is_absolute() for folder in folders)


def test_loggers_are_reached_by_configuration(tmp_path: Path) -> None:
    table = {"logger": ["wandb", "tensorboard"], "project": "mine", "environment": {"A": "b c"}}
    told = composed(config_of(tmp_path, verl=table), "baseline")
    assert list(told.trainer.logger) == ["wandb", "tensorboard", "file"]
    assert told.trainer.project_name == "mine"
    variables = told.ray_kwargs.ray_init.runtime_env.env_vars
    assert variables.A == "b c"
    assert variables.VERL_FILE_LOGGER_PATH.endswith("attempt-1/steps.jsonl")


def test_verls_own_entry_point_reads_the_planned_command(tmp_path: Path) -> None:
    backend = VerlBackend(config_of(tmp_path / "a, b=c", verl={"gpus_per_node": 1, "gpus": [3]}))
    stage = stage_of(backend.config, "reasoner")
    command = backend.command(stage, StagePaths.next(stage), steps=5)
    done = subprocess.run(
        [*command, "--cfg", "job"], capture_output=True, text=True, cwd=tmp_path, timeout=240
    )
    assert done.returncode == 0, done.stderr
    told = OmegaConf.create(done.stdout)
    assert told.trainer.total_training_steps == 5
    assert told.data.train_files == str(StagePaths.next(stage).rows)
    assert backend.settings.process_environment == {"CUDA_VISIBLE_DEVICES": "3"}
    kept = OmegaConf.merge(get_ppo_ray_runtime_env(told), told.ray_kwargs.ray_init.runtime_env)
    assert str(StagePaths.next(stage).log) == kept.env_vars.VERL_FILE_LOGGER_PATH


def test_own_overrides_win(tmp_path: Path) -> None:
    own = ["actor_rollout_ref.actor.clip_ratio_high=0.28", "+actor_rollout_ref.rollout.new=1"]
    told = composed(config_of(tmp_path, verl={"overrides": own}), "baseline")
    assert told.actor_rollout_ref.actor.clip_ratio_high == 0.28
    assert told.actor_rollout_ref.rollout.new == 1


@pytest.mark.parametrize(("choice", "packs"), [("yes", True), ("no", False)])
def test_padding_is_removed_only_with_flash_attn(choice: str, packs: bool, tmp_path: Path) -> None:
    config = config_of(tmp_path, verl={"remove_padding": choice})
    model = composed(config, "reasoner").actor_rollout_ref.model
    assert model.use_remove_padding is packs
    assert model.override_config.get("attn_implementation") == (None if packs else "sdpa")


def test_an_unknown_key_of_the_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gpu_per_node"):
        VerlBackend(config_of(tmp_path, verl={"gpu_per_node": 4}))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"gpus_per_node": 3}, "3 GPUs do not divide the 8 rollouts"),
        ({"gpus_per_node": 2, "gpus": [0]}, "1 devices"),
        ({"environment": {"CUDA_VISIBLE_DEVICES": "0"}}, r"verl\.gpus"),
    ],
)
def test_gpus_that_do_not_fit_are_refused(table: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        VerlBackend(config_of(tmp_path, verl=table))


@pytest.mark.parametrize(
    "text",
    [
        "plain/path",
        "a b",
        "it's",
        "tail\\",
        "\\'",
        "a,b={c}",
        "[x]",
        "ü",
        "",
        "1",
        "true",
        "Null",
        "1e3",
    ],
)
def test_any_text_survives_hydras_grammar(text: str, tmp_path: Path) -> None:
    told = composed(config_of(tmp_path), "baseline", f"trainer.project_name={written(text)}")
    assert told.trainer.project_name == text
