"""The table `[verl]` of a configuration: the cluster, and verl's own settings."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from p2r_bench.errors import UserError
from p2r_bench_pra_grpo.backends.verl.installed import Versions, installed
from p2r_bench_pra_grpo.config import Config, ServiceConfig
from p2r_bench_pra_grpo.reading import TABLE, Count, read

REFUSED: Mapping[str, str] = {
    "actor_rollout_ref.actor.freeze_vision_tower": (
        "no code of verl 0.9.1 reads it: the vision tower would be trained all the same"
    ),
    "algorithm.filter_groups": (
        "verl 0.9.1 does not hand it to a custom sampler, and the trainer's own is one; groups with equal rewards "
        "stay in the batch with advantages of 0"
    ),
    **{
        f"actor_rollout_ref.model.{name}": (
            "verl 0.9.1 merges the untrained base weights and leaves the adapter beside them; train all weights"
        )
        for name in ("lora", "lora_rank", "lora_adapter_path")
    },
}
"""Override that verl ignores or misapplies, to the reason for refusing it."""


@dataclass(frozen=True, config=TABLE)
class VerlSettings:
    """Settings of the verl backend.

    Attributes:
        nodes, gpus_per_node: Machines and GPUs that train; the services of the frozen models have their own GPUs.
        gpus: Devices of this machine for the cluster that verl starts here (CUDA_VISIBLE_DEVICES), as many as
            `gpus_per_node`; empty leaves the variable alone. Needed where a server beside the training has `gpus`.
        ray_address: Running Ray cluster, such as "10.0.0.1:6379"; None starts one on this machine.
        strategy: Sharding of the weights.
        tensor_parallel: GPUs that one rollout engine spans.
        gpu_memory: Share of a GPU's memory for the rollout engine, 0 to 1.
        tokens_per_gpu: Most tokens of a micro-batch; None takes two of the longest rollouts.
        offload: Keep parameters and optimizer in the host's memory while they are not needed.
        remove_padding: Train on packed sequences, which needs flash-attn; "auto" does where it is installed.
        keep_checkpoints: Checkpoints of a stage kept on disk, newest first.
        logger: verl's loggers ("console", "wandb", "tensorboard", "mlflow", "swanlab", …); "file" is always on.
        project: Name for those loggers; experiments are named after the stage.
        rollout_workers, reward_workers: Processes that build prompts, and that ask frozen models and judges.
        give_up_after: Groups left out of one step for lack of rewards that end the run; None takes the batch.
        environment: Environment variables of all of verl's processes.
        python: Interpreter of an environment with verl and this package; None takes this one.
        overrides: Further Hydra overrides of verl's configuration; they win.
    """

    nodes: Count = 1
    gpus_per_node: Count = 4
    gpus: tuple[int, ...] = ()
    ray_address: str | None = None
    strategy: Literal["fsdp", "fsdp2"] = "fsdp"
    tensor_parallel: Count = 1
    gpu_memory: Annotated[float, Field(gt=0, le=0.95)] = 0.6
    tokens_per_gpu: Count | None = None
    offload: bool = False
    remove_padding: Literal["auto", "yes", "no"] = "auto"
    keep_checkpoints: Count = 2
    logger: tuple[str, ...] = ("console",)
    project: str = "p2r-bench"
    rollout_workers: Count = 8
    reward_workers: Count = 8
    give_up_after: Count | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None
    overrides: tuple[str, ...] = ()

    @property
    def interpreter(self) -> str:
        """Path of the interpreter that runs verl; a name without a folder is searched on PATH."""
        if self.python is None:
            return sys.executable
        return str(Path(self.python).expanduser().absolute()) if "/" in self.python else self.python

    @property
    def versions(self) -> Versions:
        """Versions in the environment where verl runs.

        Raises:
            UserError: The interpreter cannot be run.
        """
        return installed(self.interpreter, self.process_environment)

    @property
    def process_environment(self) -> dict[str, str]:
        """Environment variables of the process that starts verl."""
        devices = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, self.gpus))} if self.gpus else {}
        return {**self.environment, **devices}

    @property
    def world_size(self) -> int:
        """GPUs that train."""
        return self.nodes * self.gpus_per_node

    @property
    def packs(self) -> bool:
        """True if sequences are packed, which needs flash-attn."""
        if self.remove_padding == "auto":
            return self.versions["flash-attn"] is not None
        return self.remove_padding == "yes"


def settings_of(config: Config) -> VerlSettings:
    """Return the settings of a configuration.

    Raises:
        UserError: A key is unknown, a value is of the wrong type, or the GPUs do not fit each other, the batch or the
            services.
    """
    settings = read(VerlSettings, config.verl, "verl")
    for override in settings.overrides:
        _check_override(override)
    if "CUDA_VISIBLE_DEVICES" in settings.environment:
        raise UserError(
            "verl.environment.CUDA_VISIBLE_DEVICES: Ray sets it for every process; use verl.gpus = [0, 1]"
        )
    if settings.gpus and len(settings.gpus) != settings.gpus_per_node:
        raise UserError(
            f"verl.gpus: {len(settings.gpus)} devices, and verl.gpus_per_node = {settings.gpus_per_node}"
        )
    total = settings.world_size
    for role in config.stages:
        grpo = config.grpo_for(role)
        if (rollouts := grpo.prompts_per_update * grpo.num_generations) % total:
            raise UserError(
                f"{total} GPUs do not divide the {rollouts} rollouts of an update of the {role} "
                "(grpo.mini_batch_size × grpo.num_generations); verl would fill up every batch with empty rows"
            )
    if settings.ray_address is None:
        for name, service in _beside_training(config).items():
            _check_apart(settings, name, service)
    return settings


_OFF = frozenset({"", "0", "false", "null", "none"})


def _check_override(override: str) -> None:
    """Refuse an override that verl would ignore or misapply, also as a part of a table: "a.b={c: 1}" for "a.b.c=1"."""
    key, _, value = override.lstrip("+~").partition("=")
    if value.strip().strip("'\"").lower() in _OFF:
        return
    for name, reason in REFUSED.items():
        below = name.removeprefix(f"{key}.").split(".")[0] if name.startswith(f"{key}.") else None
        if key == name or key.startswith(f"{name}.") or (below and below in value):
            raise UserError(f"verl.overrides: {override}: {reason}")


def _beside_training(config: Config) -> dict[str, ServiceConfig]:
    """Return the servers of this machine that run while verl trains. The frozen perceiver is stopped before."""
    beside: dict[str, ServiceConfig | None] = {"verifier": config.services.verifier}
    if "perceiver" in config.stages:
        beside["reasoner"] = config.services.reasoner
    return {name: s for name, s in beside.items() if s is not None and s.kind == "start"}


def _check_apart(settings: VerlSettings, name: str, service: ServiceConfig) -> None:
    if service.gpus and not settings.gpus:
        raise UserError(
            f"verl.gpus: missing; services.{name} has devices {list(service.gpus)} of this machine, and Ray would "
            "hand them out as well. Say which ones verl gets"
        )
    if shared := sorted(set(settings.gpus) & set(service.gpus)):
        raise UserError(
            f"verl.gpus: {shared} are services.{name}.gpus as well, and both run at the same time"
        )
