"""The table `[verl]` of a configuration: the cluster, and what of verl is set by hand."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from p2r_bench.errors import UserError
from p2r_bench_pra_grpo.config import Config
from p2r_bench_pra_grpo.fields import read


@dataclass(frozen=True)
class VerlSettings:
    """How verl runs.

    Attributes:
        nodes, gpus_per_node: What training uses; the services of the frozen models have their own GPUs.
        gpus: Devices of this machine for the cluster that verl starts here (CUDA_VISIBLE_DEVICES), as many as
            `gpus_per_node`; empty leaves the variable alone.
        ray_address: Running Ray cluster, such as "10.0.0.1:6379"; None starts one on this machine.
        strategy: How weights are sharded.
        tensor_parallel: GPUs that one rollout engine spans.
        gpu_memory: Share of a GPU's memory for the rollout engine, 0 to 1.
        tokens_per_gpu: Most tokens of a micro-batch; None takes two of the longest rollouts.
        offload: Keep parameters and optimizer in the host's memory while they are not needed.
        freeze_vision: Leave the vision tower as it is.
        remove_padding: Train on packed sequences, which needs flash-attn; "auto" does where it is installed.
        keep_checkpoints: Checkpoints of a stage kept on disk, newest first.
        logger: verl's loggers ("console", "wandb", "tensorboard", "mlflow", "swanlab", …); "file" is always on.
        project: Name for those loggers; experiments are named after the stage.
        rollout_workers, reward_workers: Processes that build prompts, and that ask frozen models and judges.
        give_up_after: Groups left out of one step for lack of rewards that end the run; None takes the batch.
        environment: Environment variables of all of verl's processes.
        python: Interpreter of an environment with verl; None takes this one.
        overrides: Further Hydra overrides of verl's configuration; they win.
    """

    nodes: int = field(default=1, metadata={"least": 1})
    gpus_per_node: int = field(default=4, metadata={"least": 1})
    gpus: tuple[int, ...] = ()
    ray_address: str | None = None
    strategy: Literal["fsdp", "fsdp2"] = "fsdp"
    tensor_parallel: int = field(default=1, metadata={"least": 1})
    gpu_memory: float = field(default=0.6, metadata={"more_than": 0, "most": 0.95})
    tokens_per_gpu: int | None = field(default=None, metadata={"least": 1})
    offload: bool = False
    freeze_vision: bool = False
    remove_padding: Literal["auto", "yes", "no"] = "auto"
    keep_checkpoints: int = field(default=2, metadata={"least": 1})
    logger: tuple[str, ...] = ("console",)
    project: str = "p2r-bench"
    rollout_workers: int = field(default=8, metadata={"least": 1})
    reward_workers: int = field(default=8, metadata={"least": 1})
    give_up_after: int | None = field(default=None, metadata={"least": 1})
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None
    overrides: tuple[str, ...] = ()

    @property
    def interpreter(self) -> str:
        """Path of the interpreter that runs verl."""
        return self.python or sys.executable

    @property
    def process_environment(self) -> dict[str, str]:
        """Environment variables of the process that starts verl."""
        devices = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, self.gpus))} if self.gpus else {}
        return {**self.environment, **devices}

    @property
    def packs(self) -> bool:
        """Whether sequences are packed, with flash-attn."""
        if self.remove_padding == "auto":
            return importlib.util.find_spec("flash_attn") is not None
        return self.remove_padding == "yes"


def settings_of(config: Config) -> VerlSettings:
    """The settings of a configuration.

    Raises:
        UserError: A key is unknown, a value is of the wrong type, or the GPUs do not fit each other or the batch.
    """
    settings = read(VerlSettings, config.verl, "verl")
    if "CUDA_VISIBLE_DEVICES" in settings.environment:
        raise UserError(
            "verl.environment.CUDA_VISIBLE_DEVICES: Ray gives every process its own; say verl.gpus = [0, 1]"
        )
    if settings.gpus and len(settings.gpus) != settings.gpus_per_node:
        raise UserError(
            f"verl.gpus: {len(settings.gpus)} devices, and verl.gpus_per_node = {settings.gpus_per_node}"
        )
    total = settings.nodes * settings.gpus_per_node
    for role in config.stages:
        grpo = config.grpo_for(role)
        if (rollouts := grpo.prompts_per_update * grpo.group) % total:
            raise UserError(
                f"{total} GPUs do not divide the {rollouts} rollouts of an update of the {role} "
                "(grpo.mini_batch × grpo.group); verl would fill up every batch with empty rows"
            )
    return settings
