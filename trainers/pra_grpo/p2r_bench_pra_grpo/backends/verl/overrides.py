"""A stage as Hydra overrides of verl's `ppo_trainer` configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from p2r_bench.adapter import Profile
from p2r_bench_pra_grpo.backends.verl.lengths import prompt_tokens, response_tokens
from p2r_bench_pra_grpo.backends.verl.paths import StagePaths
from p2r_bench_pra_grpo.backends.verl.settings import VerlSettings
from p2r_bench_pra_grpo.backends.verl.stage_file import OPTION
from p2r_bench_pra_grpo.config import Config
from p2r_bench_pra_grpo.stage import Stage

PACKAGE = "pkg://p2r_bench_pra_grpo.backends.verl"
AGENT_LOOP = "p2r_stage"
VISION_PATCH = 16
"""Side in pixels of the Qwen3-VL family's patches; verl's own default is that of an older family."""

_PLAIN = re.compile(
    r"(?!(?:true|false|null|nan|inf)$)[A-Za-z/][\w./:@+-]*", re.ASCII | re.IGNORECASE
)


def overrides(
    stage: Stage,
    config: Config,
    settings: VerlSettings,
    profile: Profile,
    paths: StagePaths,
    steps: int | None = None,
) -> list[str]:
    """Return the overrides of a stage, `settings.overrides` last.

    Args:
        steps: Number of steps of the stage, or None while it is unknown.
    """
    values = {
        **_data(stage, config, profile, paths),
        **_model(stage, settings),
        **_actor(stage, config, settings, profile),
        **_rollout(stage, config, settings, profile, paths),
        **_reward(settings),
        **_trainer(stage, config, settings, paths, steps or config.grpo_for(stage.role).max_steps),
    }
    return [f"{key}={written(value)}" for key, value in values.items()] + list(settings.overrides)


def _data(stage: Stage, config: Config, profile: Profile, paths: StagePaths) -> dict[str, Any]:
    return {
        "data.train_files": str(paths.rows),
        "data.val_files": str(paths.rows),  # verl wants some; nothing is validated there
        "data.val_max_samples": 1,
        "data.train_batch_size": config.grpo_for(stage.role).batch_size,
        "data.max_prompt_length": prompt_tokens(config, stage.role, profile),
        "data.max_response_length": response_tokens(config, stage.role, profile),
        "data.filter_overlong_prompts": False,
        "data.truncation": "error",
        "data.return_raw_chat": True,
        "data.image_patch_size": VISION_PATCH,
        "data.shuffle": True,
        "data.seed": stage.seed,
        "data.dataloader_num_workers": 0,
        "data.custom_cls.path": f"{PACKAGE}.dataset",
        "data.custom_cls.name": "StageDataset",
        f"+data.{OPTION}": str(paths.stage_file),
    }


def _model(stage: Stage, settings: VerlSettings) -> dict[str, Any]:
    # In a plan the start may be a hub id, which is no path.
    start = stage.start.resolve() if stage.start.is_dir() else stage.start
    values: dict[str, Any] = {
        "actor_rollout_ref.model.path": str(start),
        "actor_rollout_ref.model.use_remove_padding": settings.packs,
        "actor_rollout_ref.model.enable_gradient_checkpointing": True,
    }
    if not settings.packs:  # verl asks for flash-attn otherwise
        values["+actor_rollout_ref.model.override_config.attn_implementation"] = "sdpa"
    return values


def _actor(
    stage: Stage, config: Config, settings: VerlSettings, profile: Profile
) -> dict[str, Any]:
    grpo, actor = config.grpo_for(stage.role), "actor_rollout_ref.actor"
    longest = prompt_tokens(config, stage.role, profile) + response_tokens(
        config, stage.role, profile
    )
    return {
        "algorithm.adv_estimator": "grpo",
        "algorithm.norm_adv_by_std_in_grpo": True,
        "algorithm.use_kl_in_reward": False,
        f"{actor}.strategy": settings.strategy,
        f"{actor}.optim.lr": grpo.learning_rate,
        f"{actor}.ppo_mini_batch_size": grpo.prompts_per_update,
        f"{actor}.ppo_epochs": 1,
        f"{actor}.use_dynamic_bsz": True,
        f"{actor}.ppo_max_token_len_per_gpu": settings.tokens_per_gpu or 2 * longest,
        f"{actor}.clip_ratio": grpo.epsilon,
        f"{actor}.clip_ratio_low": grpo.epsilon,
        f"{actor}.clip_ratio_high": grpo.epsilon,
        f"{actor}.loss_agg_mode": grpo.loss_aggregation,
        f"{actor}.use_kl_loss": grpo.beta > 0,
        f"{actor}.kl_loss_coef": grpo.beta,
        f"{actor}.kl_loss_type": "low_var_kl",
        f"{actor}.entropy_coeff": grpo.entropy_coef,
        f"{actor}.data_loader_seed": stage.seed,
        f"{actor}.fsdp_config.param_offload": settings.offload,
        f"{actor}.fsdp_config.optimizer_offload": settings.offload,
        "actor_rollout_ref.ref.fsdp_config.param_offload": settings.offload,
    }


def _rollout(
    stage: Stage, config: Config, settings: VerlSettings, profile: Profile, paths: StagePaths
) -> dict[str, Any]:
    grpo, rollout = config.grpo_for(stage.role), "actor_rollout_ref.rollout"
    longest = prompt_tokens(config, stage.role, profile) + response_tokens(
        config, stage.role, profile
    )
    return {
        f"{rollout}.name": "vllm",
        f"{rollout}.mode": "async",
        f"{rollout}.n": grpo.num_generations,
        f"{rollout}.temperature": grpo.temperature,
        f"{rollout}.top_p": grpo.top_p,
        f"{rollout}.top_k": -1,
        f"{rollout}.seed": stage.seed,
        f"{rollout}.tensor_model_parallel_size": settings.tensor_parallel,
        f"{rollout}.gpu_memory_utilization": settings.gpu_memory,
        f"{rollout}.max_model_len": longest,
        f"+{rollout}.engine_kwargs.vllm.limit_mm_per_prompt": {
            "image": profile.max_images,
            "video": 0,
        },
        f"{rollout}.agent.num_workers": settings.rollout_workers,
        f"{rollout}.agent.agent_loop_config_path": str(paths.agent_loop),
        f"{rollout}.agent.default_agent_loop": AGENT_LOOP,
    }


def _reward(settings: VerlSettings) -> dict[str, Any]:
    return {
        "reward.num_workers": settings.reward_workers,
        "reward.reward_manager.source": "importlib",
        "reward.reward_manager.name": "StageRewardManager",
        "reward.reward_manager.module.path": f"{PACKAGE}.reward",
    }


def _trainer(
    stage: Stage, config: Config, settings: VerlSettings, paths: StagePaths, steps: int | None
) -> dict[str, Any]:
    grpo = config.grpo_for(stage.role)
    sampler = "trainer.v1.sampler"
    environment = {**settings.environment, "VERL_FILE_LOGGER_PATH": str(paths.log)}
    values: dict[str, Any] = {
        "trainer.use_v1": True,
        "trainer.v1.trainer_mode": "sync",
        f"{sampler}.sync_refill_failed_groups": True,
        f"{sampler}.custom_sampler.path": f"{PACKAGE}.sampler",
        f"{sampler}.custom_sampler.name": "GroupSampler",
        f"+{sampler}.sampler_kwargs.group": grpo.num_generations,
        f"+{sampler}.sampler_kwargs.give_up_after": settings.give_up_after or grpo.batch_size,
        "trainer.nnodes": settings.nodes,
        "trainer.n_gpus_per_node": settings.gpus_per_node,
        "trainer.total_epochs": grpo.num_epochs,
        "trainer.save_freq": grpo.save_steps,
        "trainer.test_freq": -1,
        "trainer.val_before_train": False,
        "trainer.resume_mode": "auto",
        "trainer.default_local_dir": str(paths.checkpoints),
        "trainer.max_actor_ckpt_to_keep": settings.keep_checkpoints,
        "trainer.project_name": settings.project,
        "trainer.experiment_name": stage.name.replace("/", "-"),
        "trainer.logger": list(dict.fromkeys((*settings.logger, "file"))),
        "+ray_kwargs.ray_init.runtime_env.env_vars": environment,
    }
    if steps is not None:
        values["trainer.total_training_steps"] = steps
    if settings.ray_address is not None:
        values["+ray_kwargs.ray_init.address"] = settings.ray_address
    return values


def written(value: Any) -> str:
    """Return a value in Hydra's override grammar."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else _quoted(value)
    return json.dumps(value)


def _quoted(text: str) -> str:
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", re.sub(r"(\\+)$", r"\1\1", text)) + "'"
